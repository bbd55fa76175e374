"""A worker stands still at each point of a claim, a commit, a call, a question; then it is killed,
goes on after 12 or 120 s, loses its session, or finds the server restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchsnap.failpoints import CLUSTER_POINTS
from tests.cluster.fleet import write_wide_fleet
from tests.cluster.nodes import stopped
from tests.cluster.team import Gather, Team, figure, until
from tests.cluster.witness import claims_of, late_starts, shared_seconds, witnessed
from tests.postgres import Server, new_base, own_server
from tests.process import Cli

pytestmark = pytest.mark.long

ROWS, QUOTAS = 80, 2
OF_A_CALL = ("token_taken", "about_to_write", "bytes_sent", "reply_read")
OF_A_QUESTION = ("settle_asked", "settle_found")
POINTS = (*CLUSTER_POINTS, *OF_A_CALL, *OF_A_QUESTION)
NTH = {"group_sent": 4, "token_taken": 7, "about_to_write": 7, "bytes_sent": 7}
UNSURE = {"lost_reply": 0.2, "reset": 0.1, "seed": 11}
Harm = Callable[[Team, subprocess.Popen[str], Server], None]


def kill(team: Team, process: subprocess.Popen[str], server: Server) -> None:
    process.kill()
    process.communicate()


def stand(seconds: float) -> Harm:
    def harm(team: Team, process: subprocess.Popen[str], server: Server) -> None:
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    return harm


def end_sessions(team: Team, process: subprocess.Popen[str], server: Server) -> None:
    team.end_sessions(process)
    process.send_signal(signal.SIGCONT)


def restart(team: Team, process: subprocess.Popen[str], server: Server) -> None:
    server.stop()
    server.start()
    process.send_signal(signal.SIGCONT)


HARMS: dict[str, Harm] = {
    "kill": kill,
    "12s": stand(12.0),
    "120s": stand(120.0),
    "session": end_sessions,
    "restart": restart,
}


def _play(
    cli: Cli, gather: Gather, folder: Path, point: str, name: str, *options: str
) -> tuple[int, int]:
    """How many rows have a second snapshot, and how many of these the ledger tells."""
    write_wide_fleet(folder, ROWS, QUOTAS)
    unsure = UNSURE if point in OF_A_QUESTION else {}
    with own_server() as server, witnessed(folder, QUOTAS, **unsure) as (cloud, witness):
        base = new_base(server)
        team = witness.watch(gather(base, cloud))
        cli.env["BATCHSNAP_STOP"] = f"{point}:{NTH.get(point, 1)}"
        harmed = team.run("--rate", "5", "--timeout", "2s", *options)
        del cli.env["BATCHSNAP_STOP"]
        helper = team.work()
        until(lambda: stopped(harmed.pid) or harmed.poll() is not None)
        assert harmed.poll() is None, (point, "was not reached", harmed.communicate())
        time.sleep(0.1)
        HARMS[name](team, harmed, server)
        codes = {}
        for process in (helper, harmed):
            if process.stdout is not None and not process.stdout.closed:
                said = process.communicate(timeout=700)[1]
                codes[said] = process.returncode
        last = team.run(*options)
        err = last.communicate(timeout=200)[1]
        per_disk = list(cloud.per_disk().values())
        assert len(per_disk) == ROWS, codes
        twice = sum(number - 1 for number in per_disk)
        told = team.events()["doubled"]
        assert last.returncode == (1 if told else 0), err
        if not twice:
            assert set(codes.values()) == {0}, codes
        assert witness.unknown < (0.5 if unsure else 0.05)
        former = late_starts(witness.starts, claims_of(base))
        # Bytes that were frozen after the last check leave when the process goes on: no client can
        # stop them. A takeover meanwhile may make that a second snapshot.
        free = point == "about_to_write" and name in {"12s", "120s"}
        assert len(former) <= free, former
        assert twice <= free
        assert shared_seconds(witness.starts, 20) == []
        figure(
            f"{point} x {name}: {twice} twice, {told} told; {len(former)} late starts; "
            f"claims {team.events()['claimed']}, doubts {team.events()['in_doubt']}"
        )
    return twice, told


@pytest.mark.parametrize("harm", ["kill", "12s", "session", "restart"])
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_is_harmed_there_makes_no_row_twice(
    cli: Cli, gather: Gather, tmp_path: Path, point: str, harm: str
) -> None:
    _play(cli, gather, tmp_path, point, harm)


@pytest.mark.parametrize("point", ["claim_written", "group_sent", "token_taken", "bytes_sent"])
def test_past_all_settling_too(cli: Cli, gather: Gather, tmp_path: Path, point: str) -> None:
    assert _play(cli, gather, tmp_path, point, "120s") == (0, 0)


@pytest.mark.skipif("BATCHSNAP_PATIENT" not in os.environ, reason="takes seven minutes")
def test_bytes_that_were_frozen_after_the_last_check_are_told_in_the_end(
    cli: Cli, gather: Gather, tmp_path: Path
) -> None:
    """With a signature's whole life to wait for, as with the real cloud."""
    options = ("--settle-for", "60s")
    twice, told = _play(cli, gather, tmp_path, "about_to_write", "120s", *options)
    assert twice == told == 1
