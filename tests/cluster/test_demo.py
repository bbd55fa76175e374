"""`batchsnap demo --workers`: one of several machines dies, none is made twice, nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.process import environment

SMALL = """
from batchsnap.cli.commands import demo_team
from batchsnap.cli.main import main
demo_team.{name} = {value}
main(["demo", "--workers", "2"])
"""


def demo(folder: Path, name: str, value: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SMALL.format(name=name, value=value)],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left_of(process: subprocess.Popen[str]) -> list[str]:
    """Folders and processes that the demo made."""
    name = f"batchsnap-demo-{process.pid}-"
    folders = [str(path) for path in Path(tempfile.gettempdir()).glob(f"{name}*")]
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return folders + [line.decode() for line in lines if name.encode() in line]


def test_a_worker_is_killed_in_the_middle_and_the_cloud_counts_none_twice(tmp_path: Path) -> None:
    process = demo(tmp_path, "_ROWS", 10)
    out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    assert "60 snapshots of 60 disks, 0 twice" in out
    killed = next(line for line in err.splitlines() if line.startswith("kill -9"))
    assert f" of {killed.split(': ')[1].split()[0]}, which gave none back" in err
    page = (tmp_path / "batchsnap-demo" / "team.html").read_text(encoding="utf8")
    assert " took over " in page
    assert (tmp_path / "batchsnap-demo" / "team.ledger.jsonl").stat().st_size > 0
    assert left_of(process) == []


@pytest.mark.long
@pytest.mark.parametrize("said", ["starting a PostgreSQL", "kill -9"])
def test_a_ctrl_c_leaves_neither_process_nor_folder(tmp_path: Path, said: str) -> None:
    """While the server is made, which hears it too, and while the workers are at work."""
    process = demo(tmp_path, "_ROWS", 60)
    assert process.stderr is not None
    while said not in process.stderr.readline():
        assert process.poll() is None
    assert left_of(process) != []
    os.killpg(process.pid, signal.SIGINT)

    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert left_of(process) == []


def test_without_its_extra_it_says_what_to_install(tmp_path: Path) -> None:
    process = demo(tmp_path, "find_spec", "lambda name: None")
    _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "pip install 'batchsnap[demo]'" in err
    assert left_of(process) == []
