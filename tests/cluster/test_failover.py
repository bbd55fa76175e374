"""The database's server is replaced, or answers and can't commit: nobody makes a row twice."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.fleet import write_wide_fleet
from tests.cluster.nodes import Node, Nodes, Pair, promote, servers, synchronous
from tests.cluster.team import Gather, Team, figure, until
from tests.cluster.witness import Witness, claims_of, late_starts, shared_seconds, witnessed
from tests.postgres import Base, new_base
from tests.process import Cloud

pytestmark = pytest.mark.long

ROWS, QUOTAS = 240, 4
SLOW = ("--rate", "4", "--max-quotas", "2")


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with servers() as made:
        yield made


@pytest.fixture
def scene(tmp_path: Path, gather: Gather) -> Iterator[tuple[Cloud, Witness, Gather]]:
    write_wide_fleet(tmp_path, ROWS, QUOTAS)
    teams: list[Team] = []

    def make(base: Base, cloud: Cloud, ledger: str = "nightly") -> Team:
        teams.append(gather(base, cloud, ledger))
        return teams[-1]

    def pids() -> list[int]:
        return [process.pid for team in teams for process in team.started]

    with witnessed(tmp_path, QUOTAS, pids) as (cloud, witness):
        yield cloud, witness, make


def begun(team: Team, made: int = 40) -> list[subprocess.Popen[str]]:
    """A run and a worker that both own a part of it, in the middle."""
    run = team.run(*SLOW)
    helper = team.work("--max-quotas", "2")
    until(lambda: bool(team.owned_by(run) and team.owned_by(helper)) and team.made() > made)
    return [run, helper]


def ended(processes: list[subprocess.Popen[str]], most_s: float = 240.0) -> list[str]:
    """What they said; each ended by itself, and well."""
    told = []
    for process in processes:
        told.append(process.communicate(timeout=most_s)[1])
        assert process.returncode == 0, told[-1]
    return told


def judge(team: Team, witness: Witness, base: Base) -> None:
    team.check(ROWS)
    assert team.events()["doubled"] == 0
    assert witness.unknown < 0.05
    assert late_starts(witness.starts, claims_of(base)) == []
    assert shared_seconds(witness.starts, 20) == []


def on_second(pair: Pair, team: Team) -> None:
    """The tests look at what is the primary now."""
    pair.server, pair.second = pair.second, pair.server  # type: ignore[assignment]
    team.base = pair


def test_a_synchronous_standby_takes_over_for_a_frozen_primary(
    scene: tuple[Cloud, Witness, Gather], nodes: Nodes
) -> None:
    cloud, witness, gather = scene
    first = nodes.primary()
    pair = Pair(first, nodes.standby(first))
    synchronous(pair)
    team = gather(pair, cloud)
    processes = begun(team)
    first.freeze()
    frozen = time.time()
    time.sleep(1.0)
    promote(pair.second)
    on_second(pair, team)
    until(lambda: any(start.at > frozen + 3.0 for start in witness.starts))
    again = next(start.at for start in witness.starts if start.at > frozen + 3.0)
    last = max(start.at for start in witness.starts if start.at < frozen + 3.0)
    figure(f"frozen: last start {last - frozen:.1f} s after, first again {again - frozen:.1f} s")
    first.thaw()  # it answers reads, and can't commit
    told = ended(processes)
    judge(team, witness, pair)
    assert all("claimed anew" in text for text in told)
    assert team.events()["claimed"] >= 2 * QUOTAS


def test_a_deposed_primary_that_answers_reads_keeps_nobody(
    scene: tuple[Cloud, Witness, Gather], nodes: Nodes
) -> None:
    """Nobody shut it down: whoever connects to it finds a primary, whose commits hang."""
    cloud, witness, gather = scene
    first = nodes.primary()
    pair = Pair(first, nodes.standby(first))
    synchronous(pair)
    team = gather(pair, cloud)
    processes = begun(team)
    promote(pair.second)
    deposed = time.time()
    on_second(pair, team)
    ended(processes)
    judge(team, witness, pair)
    before = [s.at - deposed for s in witness.starts if s.at < deposed + 4.0]
    after = [s.at - deposed for s in witness.starts if s.at > deposed + 4.0]
    figure(f"deposed: last start {max(before):.1f} s after, first again {min(after):.1f} s")
    assert max(before) < 3.0


def test_an_asynchronous_standby_that_lost_commits_has_the_cloud_asked_first(
    scene: tuple[Cloud, Witness, Gather], nodes: Nodes
) -> None:
    cloud, witness, gather = scene
    first = nodes.primary()
    pair = Pair(first, nodes.standby(first))
    team = gather(pair, cloud)
    processes = begun(team)
    pair.second.sql("postgres", "alter system set primary_conninfo = ''")
    pair.second.sql("postgres", "select pg_reload_conf()")
    until(lambda: not first.sql("postgres", "select from pg_stat_replication"))
    made = team.made()
    until(lambda: team.made() > made + 30)
    kept = pair.second.sql(pair.name, "select count(*) from batchsnap.record")[0][0]
    lost = first.sql(pair.name, "select count(*) from batchsnap.record")[0][0] - kept
    first.stop()
    promote(pair.second)
    on_second(pair, team)
    told = ended(processes)
    judge(team, witness, pair)
    figure(f"lost {lost} records, of {kept + lost}")
    assert lost > 60
    assert all("claimed anew" in text for text in told)
    assert all("a failover may lose the last intents" in text for text in told)
    questions = sum(q["calls"] for q in cloud.state()["quotas"] if q["action"] != "CreateSnapshot")
    assert questions > 0


def test_a_restore_into_another_cluster_has_the_cloud_asked_first(
    scene: tuple[Cloud, Witness, Gather], nodes: Nodes
) -> None:
    cloud, _, gather = scene
    base = new_base(nodes.primary())
    team = gather(base, cloud)
    processes = begun(team)
    first, second = base.server, nodes.primary()
    assert isinstance(first, Node)
    there = ("-h", str(first.folder), "-U", "postgres")
    first.command("pg_dump", *there, "-Fc", "-f", str(first.folder / "dump"), base.name)
    made = team.made()
    until(lambda: team.made() > made + 30)
    for process in processes:
        process.kill()
    first.stop()
    other = new_base(second)
    other.sql("drop schema batchsnap cascade")
    (second.folder / "dump").write_bytes((first.folder / "dump").read_bytes())
    there = ("-h", str(second.folder), "-U", "postgres")
    second.command("pg_restore", *there, "-d", other.name, str(second.folder / "dump"))
    on = gather(other, cloud)
    ended([on.run("--rate", "20")])
    on.check(ROWS)
    assert on.events()["doubled"] == 0
    lost = other.sql(
        "select distinct line::json -> 'recovered' ->> 'lost' from batchsnap.record "
        "where line::json ->> 'event' = 'claimed' and line::json -> 'recovered' is not null"
    )
    assert lost == [("the database was restored into another cluster",)]


@contextmanager
def cancelling(base: Base) -> Iterator[list[int]]:
    """Cancel whatever waits for a standby, again and again."""
    over, done = threading.Event(), [0]

    def cancel() -> None:
        while not over.wait(0.1):
            found = base.sql(
                "select count(pg_cancel_backend(pid)) from pg_stat_activity "
                "where wait_event = 'SyncRep'"
            )
            done[0] += found[0][0]

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def test_a_cancelled_wait_for_the_standby_is_no_answer(
    scene: tuple[Cloud, Witness, Gather], nodes: Nodes
) -> None:
    cloud, witness, gather = scene
    first = nodes.primary()
    pair = Pair(first, nodes.standby(first))
    synchronous(pair)
    team = gather(pair, cloud)
    processes = begun(team)
    pair.second.freeze()
    with cancelling(pair) as cancelled:
        began = time.time()
        until(lambda: cancelled[0] > 20)
        until(lambda: time.time() > began + 12.0)
    late = [start.at - began for start in witness.starts if start.at > began + 3.0]
    pair.second.thaw()
    ended(processes)
    judge(team, witness, pair)
    figure(f"cancelled {cancelled[0]} waits; starts after 3 s of it: {len(late)}")
    assert late == []
