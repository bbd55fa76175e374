"""Signals drain, the second one stops, and the next run goes on from either."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.crash.verify import open_intents
from tests.front import listening
from tests.process import Cli, Cloud, disk, environment, sets, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"


def to(cloud: Cloud) -> dict[str, str]:
    return {"BATCHSNAP_ENDPOINT": cloud.url}


def started(cli: Cli, cloud: Cloud, *options: str, created: int = 5) -> subprocess.Popen[str]:
    process = cli.start("run", "fleet.csv", "--json", *options, **to(cloud))
    cloud.wait_for(lambda state: state["created"] >= created, process)
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_drains(cli: Cli, tmp_path: Path, number: int, code: int) -> None:
    write_fleet(tmp_path, 40)
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud:
        process = started(cli, cloud)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)

        assert process.returncode == code, err
        assert "waiting for replies" in err
        assert open_intents(cli.records()) == 0
        assert '"in_doubt": 0' in out
        made = cloud.state()["created"]
        assert 5 <= made < 40
        assert len([r for r in cli.records() if r["event"] == "accepted"]) == made
        done = cli.run("run", "fleet.csv", "--json", **to(cloud))
        assert done.code == 0
        assert cloud.per_disk() == {disk(i): 1 for i in range(40)}


def test_what_was_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    """nohup ignores SIGHUP, a script's background job SIGINT; SIGTERM is heeded whatever it was."""
    write_fleet(tmp_path, 40)
    command = f'trap "" HUP INT TERM; exec {sys.executable} -m batchsnap run fleet.csv -v'
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud:
        process = subprocess.Popen(
            ["/bin/bash", "-c", command],
            cwd=tmp_path,
            env=environment(tmp_path, **to(cloud)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        cloud.wait_for(lambda state: state["created"] >= 1, process)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        cloud.wait_for(lambda state: state["created"] >= 15, process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 143, err
    assert "SIGTERM: waiting" in err
    assert "SIGHUP" not in err
    assert "SIGINT" not in err


def test_rows_that_wait_for_their_token_are_closed_as_unsent(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 30)
    with simulator(tmp_path) as cloud:
        process = started(cli, cloud, "--rate", "1", created=1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

        assert process.returncode == 130
        assert open_intents(cli.records()) == 0
        assert any(r["event"] == "unsent" for r in cli.records())
        done = cli.run("run", "fleet.csv", "--rate", "20", **to(cloud))
        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(30)}


def test_the_second_signal_stops_at_once_and_the_next_run_settles(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 20)
    slow = sets(latency_ms=20_000.0, commit_at=0.0, cap_per_s=0)
    with simulator(tmp_path, *slow) as cloud:
        process = started(cli, cloud)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "waiting for replies" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Unclosed" not in err
        cloud.scenario(cap_per_s=0)
        done = cli.run("run", "fleet.csv", "--settle-for", "0.5s", **to(cloud))

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(20)}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_there_is_a_ledger(tmp_path: Path, number: int, code: int) -> None:
    """While the metadata service is asked for credentials and does not answer: it ends at once."""
    write_fleet(tmp_path, 2)
    asked, over = threading.Event(), threading.Event()

    def silent(_stream: socket.socket) -> None:
        asked.set()
        over.wait(30)

    with listening(silent) as port:
        script = (
            "from batchsnap.cli.main import main\n"
            "from batchsnap.cloud.credentials import Credentials\n"
            f"there = 'http://127.0.0.1:{port}'\n"
            "Credentials.__init__.__kwdefaults__['metadata_url'] = there\n"
            "main()"
        )
        keyless = {"TENCENTCLOUD_SECRET_ID": "", "TENCENTCLOUD_SECRET_KEY": ""}
        process = subprocess.Popen(
            [sys.executable, "-c", script, "run", "fleet.csv"],
            cwd=tmp_path,
            env=environment(tmp_path, **keyless),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert asked.wait(20)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        over.set()

    assert process.returncode == code, err
    assert "stopped before anything was sent" in err
    assert not out
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_run_that_is_suspended_goes_on_and_makes_nothing_up(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud:
        process = started(cli, cloud)
        process.send_signal(signal.SIGSTOP)
        until = time.monotonic() + 2.5
        cloud.wait_for(lambda _: time.monotonic() >= until, process)
        before = cloud.state()["created"]
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=30)

        assert process.returncode == 0, err
        assert before < 20
        assert cloud.per_disk() == {disk(i): 1 for i in range(60)}
        assert json.loads(out)["worst_second"] <= 20
        assert not [r for r in cli.records() if r["event"] == "in_doubt"]
