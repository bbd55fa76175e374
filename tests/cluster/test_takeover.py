"""A worker of twenty quotas is killed, frozen, or cut off from the database and not from the cloud:
when the others claim them, when they start, and that the former owner has stopped by then."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.fleet import write_wide_fleet
from tests.cluster.net import network
from tests.cluster.nodes import servers
from tests.cluster.team import Gather, ended, figure, until
from tests.cluster.witness import Witness, claims_of, witnessed
from tests.postgres import Base, new_base, own_server
from tests.process import Cli

pytestmark = pytest.mark.long

EACH = 20
QUOTAS, ROWS = 3 * EACH, 3 * EACH * 30
AWAY_S = 15.0


@contextmanager
def _near() -> Iterator[tuple[Base, str, Callable[[], None], Callable[[], None]]]:
    with own_server() as server:
        base = new_base(server)
        yield base, base.url("nightly"), lambda: None, lambda: None


@contextmanager
def _far() -> Iterator[tuple[Base, str, Callable[[], None], Callable[[], None]]]:
    """The harmed worker's way to the database leads through a network; all others use a socket."""
    with network() as net, servers() as nodes:
        base = new_base(nodes.primary(prefix=net.prefix, listen_addresses="'*'"))
        url = f"postgresql://worker@{net.address}/{base.name}/nightly?sslmode=disable"
        yield base, url, net.cut, net.heal


@pytest.mark.parametrize("harm", ["kill", "freeze", "cut"])
def test_twenty_quotas_of_a_worker_that_is_lost(
    cli: Cli, gather: Gather, tmp_path: Path, harm: str
) -> None:
    write_wide_fleet(tmp_path, ROWS, QUOTAS)
    way = _far if harm == "cut" else _near
    with (
        way() as (base, url, cut, heal),
        witnessed(tmp_path, QUOTAS) as (cloud, witness),
    ):
        team = witness.watch(gather(base, cloud))
        run = team.run("--rate", "1")
        harmed, helper = team.work(url=url), team.work()
        until(lambda: sum(map(team.owned_by, team.started)) == QUOTAS)
        owned = team.owned_by(harmed)
        until(lambda: len({s.source for s in witness.starts if s.pid == harmed.pid}) == owned)
        at = time.time()
        if harm == "kill":
            harmed.kill()
        elif harm == "freeze":
            harmed.send_signal(signal.SIGSTOP)
            time.sleep(AWAY_S)
            harmed.send_signal(signal.SIGCONT)
        else:
            cut()
            time.sleep(AWAY_S)
            heal()
        _tell(harm, at, witness, base, harmed, owned)
        left = [run, helper] if harm == "kill" else [run, helper, harmed]
        for process in left:
            ended(process, most_s=300)
        witness.judge(team, ROWS, cap=1)


def _tell(
    harm: str, at: float, witness: Witness, base: Base, harmed: subprocess.Popen[str], owned: int
) -> None:
    """Wait for the new owners' first starts, and say when all that was."""

    def claims() -> dict[str, float]:
        return {
            source: next(c.at for c in owners[i + 1 :])
            for source, owners in claims_of(base).items()
            for i, owner in enumerate(owners)
            if owner.pid == harmed.pid and owner.at < at and len(owners) > i + 1
        }

    def firsts() -> dict[str, float]:
        taken = claims()
        return {
            source: min(s.at for s in witness.starts if s.source == source and s.at > taken[source])
            for source in taken
            if any(s.source == source and s.at > taken[source] for s in witness.starts)
        }

    until(lambda: len(firsts()) == owned)
    claimed, began = sorted(claims().values()), sorted(firsts().values())
    last = max(s.at for s in witness.starts if s.pid == harmed.pid and s.at < began[0])
    load = os.getloadavg()[0]
    figure(
        f"{harm}: {owned} quotas; last start by the former owner {last - at:.1f} s after; claimed "
        f"{claimed[0] - at:.1f} to {claimed[-1] - at:.1f} s; first starts {began[0] - at:.1f} to "
        f"{began[-1] - at:.1f} s after; load {load:.1f} on {os.cpu_count()} cores"
    )
