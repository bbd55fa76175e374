"""Status beside a run that is going on: it reads, follows, and disturbs nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from batchsnap.ledger.reading import FileFollower
from tests.ledgers import write_ledger
from tests.process import Cli, environment, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"


def test_status_is_read_while_the_run_goes_on(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        process = cli.start("run", "fleet.csv", "--rate", "8", BATCHSNAP_ENDPOINT=cloud.url)
        cloud.wait_for(lambda state: state["created"] >= 15, process)
        process.send_signal(signal.SIGSTOP)  # it stays under way, however long this takes
        watching = subprocess.Popen(
            [sys.executable, "-m", "batchsnap", "status", LEDGER, "--watch"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        text = cli.run("status", LEDGER)
        data = cli.run("status", LEDGER, "--json").json
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
        watched, _ = watching.communicate(timeout=60)

        assert process.returncode == watching.returncode == 0
        assert text.code == 0
        assert "last minute" in text.out
        assert "ETA" in text.out
        assert 15 <= data["accepted"] + data["in_doubt"] < 60
        states = ("pending", "deferred", "in_doubt", "accepted", "rejected", "gave_up")
        assert sum(data[state] for state in states) == data["rows"] == 60
        assert "finished at" in watched
        assert cloud.state()["created"] == 60


def test_a_follower_takes_whole_lines_and_tells_a_cut(tmp_path: Path) -> None:
    whole = write_ledger(tmp_path / "whole.jsonl", 40).read_bytes()
    growing = tmp_path / "growing.jsonl"
    growing.write_bytes(whole[:1000])
    follower = FileFollower(growing)
    found = follower.more() or []
    for end in range(1000, len(whole), 377):
        growing.write_bytes(whole[:end])
        found += follower.more() or []
    growing.write_bytes(whole)
    found += follower.more() or []

    assert [r.get("seq", 0) for r in found] == list(range(whole.count(b"\n")))
    growing.write_bytes(whole[:500])
    assert follower.more() is None
    assert len(follower.more() or []) == whole[:500].count(b"\n")


def test_a_run_that_stopped_is_told_so_and_no_watcher_waits(cli: Cli, tmp_path: Path) -> None:
    """Whether it said so itself, or was killed and holds no lock any more."""
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        for number, said in ((signal.SIGINT, "(SIGINT), exit 130"), (signal.SIGKILL, "no process")):
            process = cli.start("run", "fleet.csv", "--rate", "5", "--settle-for", "0.5s")
            made = cloud.state()["created"]
            cloud.wait_for(lambda state, made=made: state["created"] >= made + 3, process)
            process.send_signal(number)
            process.communicate(timeout=60)
            for watching in ((), ("--watch",)):
                status = cli.run("status", LEDGER, *watching)
                assert status.code == 0
                assert said in status.out.splitlines()[-1]
                assert "run the same command again" in status.out.splitlines()[-1]
                assert "ETA" not in status.out
        done = cli.run("run", "fleet.csv", "--rate", "20")
        assert done.code == 0, done.err
        assert "next: batchsnap wait" in done.err
    assert "finished at" in cli.run("status", LEDGER, "--watch").out
