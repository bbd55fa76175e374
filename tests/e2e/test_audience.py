"""Whoever reads stdout or stderr may leave: the run goes on, and its exit code is the true one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import Cli, disk, environment, sets, simulator, write_fleet
from tests.terminal import on_a_terminal

LEDGER = "fleet.csv.ledger.jsonl"
ROWS = 40


def in_doubt(cli: Cli) -> bool:
    return any(record["event"] == "in_doubt" for record in cli.records())


def shell(cli: Cli, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`script` with batchsnap in it; stderr of the whole."""
    return subprocess.run(
        ["/bin/bash", "-c", f'batchsnap() {{ "{sys.executable}" -m batchsnap "$@"; }}; {script}'],
        cwd=cli.folder,
        env=environment(cli.folder, **env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("verbose", ["-vv", "-q"])
def test_a_run_goes_on_when_its_readers_leave(cli: Cli, tmp_path: Path, verbose: str) -> None:
    write_fleet(tmp_path, ROWS)
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud:
        process = cli.start("run", "fleet.csv", verbose, BATCHSNAP_ENDPOINT=cloud.url)
        cloud.wait_for(lambda state: state["created"] >= 5, process)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()

        assert process.wait(30) == 0
        assert cloud.per_disk() == {disk(i): 1 for i in range(ROWS)}
    assert not in_doubt(cli)


def test_a_signal_drains_a_run_without_readers(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, ROWS)
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud:
        process = cli.start("run", "fleet.csv", BATCHSNAP_ENDPOINT=cloud.url)
        cloud.wait_for(lambda state: state["created"] >= 5, process)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        process.send_signal(signal.SIGTERM)

        assert process.wait(30) == 143
        made = cloud.state()["created"]
    assert len([r for r in cli.records() if r["event"] == "accepted"]) == made < ROWS
    assert not in_doubt(cli)


@pytest.mark.parametrize("signals", [(), (signal.SIGHUP,)], ids=["kept", "hung up"])
def test_a_terminal_goes_away(cli: Cli, tmp_path: Path, signals: tuple[int, ...]) -> None:
    write_fleet(tmp_path, ROWS)
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud:
        to = {"BATCHSNAP_ENDPOINT": cloud.url}
        process, master = on_a_terminal(cli, "run", "fleet.csv", "--yes", **to)
        cloud.wait_for(lambda state: state["created"] >= 5, process)
        os.close(master)
        for number in signals:
            process.send_signal(number)

        assert process.wait(30) == (143 if signals else 0)
        made = cloud.state()["created"]
    assert made < ROWS if signals else made == ROWS
    assert len([r for r in cli.records() if r["event"] == "accepted"]) == made
    assert not in_doubt(cli)


def test_a_watcher_leaves_with_its_terminal(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, ROWS)
    with simulator(tmp_path) as cloud:
        run = cli.start("run", "fleet.csv", "--rate", "5", BATCHSNAP_ENDPOINT=cloud.url)
        cloud.wait_for(lambda state: state["created"] >= 3, run)
        run.send_signal(signal.SIGSTOP)  # it stays under way, however long this takes
        process, master = on_a_terminal(cli, "status", LEDGER, "--watch")
        try:
            seen = b""
            while b" done" not in seen:
                seen += os.read(master, 1000)
            os.close(master)

            assert process.wait(20) == 0
        finally:
            process.kill()
            run.kill()
            run.communicate()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (f"status {LEDGER} | head -0", 0),
        (f"status {LEDGER} --json | head -0", 0),
        (f"report {LEDGER} --format csv | head -0", 0),
        ("plan fleet.csv | head -0", 0),
        ("--help | head -0", 0),
        (f"status {LEDGER} >&-", 0),
        ("run fleet.csv | head -0", 1),
        ("run fleet.csv >&- 2>&-", 1),
        ("run fleet.csv 2>&1 | head -0", 1),
        ("run fleet.csv --json >/dev/full", 1),
        ("run gone.csv 2>&1 | head -0", 2),
        ("status gone.jsonl 2>/dev/full", 4),
        ("run --nonsense 2>/dev/full", 2),
    ],
)
def test_the_exit_code_without_a_reader(cli: Cli, tmp_path: Path, call: str, code: int) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(not_found=1.0)) as cloud:
        to = {"BATCHSNAP_ENDPOINT": cloud.url}
        cli.run("run", "fleet.csv", **to)
        done = shell(cli, f"batchsnap {call}; exit ${{PIPESTATUS[0]}}", **to)

    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_full_disk_under_stdout_is_told(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 1)
    done = shell(cli, "batchsnap plan fleet.csv >/dev/full")

    assert done.returncode == 5
    assert done.stderr.count("No space left on device") == 1
    assert "Exception ignored" not in done.stderr


def test_a_run_whose_results_find_no_room_is_not_a_success(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path) as cloud:
        call = "batchsnap run fleet.csv --json >/dev/full"
        done = shell(cli, call, BATCHSNAP_ENDPOINT=cloud.url)

    assert done.returncode == 5, done.stderr
    assert done.stderr.count("No space left on device") == 1
    assert cli.records()[-1]["exit"] == 0
