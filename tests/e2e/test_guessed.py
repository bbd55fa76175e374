"""A name that hangs on a guess of the encoding is sent only once a person has seen it."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

import batchsnap
from batchsnap.errors import UsageError
from tests.process import Cli, disk, sets, simulator
from tests.terminal import on_a_terminal, read_to_end, screen

NAMED = f"DiskId,Region,SnapshotName\n{disk(0)},ap-guangzhou,夜间\n"
PLAIN = f"DiskId,Region,Note\n{disk(0)},ap-guangzhou,夜间\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "fleet.csv"
    path.write_bytes(text.encode("gb18030"))
    return path


@pytest.mark.parametrize("more", [(), ("--yes",), ("-q",)])
def test_off_a_terminal_it_stops_a_run(cli: Cli, tmp_path: Path, more: tuple[str, ...]) -> None:
    write(tmp_path, NAMED)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        refused = cli.run("run", "fleet.csv", *more)
        assert refused.code == 2, refused.err
        assert "'夜间'" in refused.err
        assert "--encoding gb18030" in refused.err
        assert not list(tmp_path.glob("*.jsonl"))
        assert cli.run("run", "fleet.csv", "--encoding", "gb18030", *more).code == 0
        assert cloud.state()["created"] == 1
        assert cli.run("run", "fleet.csv", *more).code == 0  # nothing is left to be named


def test_what_is_not_sent_may_be_guessed(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        assert cli.run("run", "fleet.csv", "--endpoint", cloud.url).code == 0


def test_the_money_question_shows_it(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, NAMED)
    with simulator(tmp_path) as cloud:
        process, master = on_a_terminal(cli, "run", "fleet.csv", BATCHSNAP_ENDPOINT=cloud.url)
        os.write(master, b"n\n")
        lines = screen(read_to_end(master))
        process.wait(30)
        assert cloud.state()["created"] == 0
    assert any("'夜间' is what it is only if" in line for line in lines), lines


def test_a_program_is_told_so(tmp_path: Path) -> None:
    path = write(tmp_path, NAMED)

    async def program() -> None:
        await batchsnap.run(path, ledger=tmp_path / "l.jsonl", endpoint="http://127.0.0.1:9")

    with pytest.raises(UsageError, match="--encoding gb18030"):
        anyio.run(program)
    assert not (tmp_path / "l.jsonl").exists()
