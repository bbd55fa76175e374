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
from tests.cluster.nodes import Node, Nodes, servers
from tests.cluster.team import Gather, Team, ended, figure, until
from tests.cluster.witness import Witness, witnessed
from tests.postgres import Base, new_base

pytestmark = pytest.mark.long

ROWS, QUOTAS = 240, 4
CAP = 20
MOST_S = 240.0
SLOW = ("--rate", "4", "--max-quotas", "2")


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with servers() as made:
        yield made


@pytest.fixture
def scene(tmp_path: Path, gather: Gather) -> Iterator[tuple[Witness, Gather]]:
    write_wide_fleet(tmp_path, ROWS, QUOTAS)
    with witnessed(tmp_path, QUOTAS) as (cloud, witness):
        yield witness, lambda base: witness.watch(gather(base, cloud))


def begun(team: Team, made: int = 40) -> list[subprocess.Popen[str]]:
    """A run and a worker that both own a part of it, in the middle."""
    run = team.run(*SLOW)
    helper = team.work("--max-quotas", "2")
    until(lambda: bool(team.owned_by(run) and team.owned_by(helper)) and team.made() > made)
    return [run, helper]


def through(team: Team, witness: Witness, processes: list[subprocess.Popen[str]]) -> list[str]:
    """What they said; each ended by itself, and well, and so did the run."""
    told = [ended(process, most_s=MOST_S).err for process in processes]
    witness.judge(team, ROWS, CAP)
    return told


def test_a_synchronous_standby_takes_over_for_a_frozen_primary(
    scene: tuple[Witness, Gather], nodes: Nodes
) -> None:
    witness, gather = scene
    pair = nodes.pair().synchronous()
    team = gather(pair)
    processes, first = begun(team), pair.server
    first.freeze()
    frozen = time.time()
    time.sleep(1.0)
    pair.promote()
    until(lambda: any(start.at > frozen + 3.0 for start in witness.starts))
    again = next(start.at for start in witness.starts if start.at > frozen + 3.0)
    last = max(start.at for start in witness.starts if start.at < frozen + 3.0)
    figure(f"frozen: last start {last - frozen:.1f} s after, first again {again - frozen:.1f} s")
    first.thaw()  # it answers reads, and can't commit
    told = through(team, witness, processes)
    assert all("claimed anew" in text for text in told)
    assert team.events()["claimed"] >= 2 * QUOTAS


def test_a_deposed_primary_that_answers_reads_keeps_nobody(
    scene: tuple[Witness, Gather], nodes: Nodes
) -> None:
    """Nobody shut it down: whoever connects to it finds a primary, whose commits hang."""
    witness, gather = scene
    pair = nodes.pair().synchronous()
    team = gather(pair)
    processes = begun(team)
    pair.promote()
    deposed = time.time()
    through(team, witness, processes)
    before = [s.at - deposed for s in witness.starts if s.at < deposed + 4.0]
    after = [s.at - deposed for s in witness.starts if s.at > deposed + 4.0]
    figure(f"deposed: last start {max(before):.1f} s after, first again {min(after):.1f} s")
    assert max(before) < 3.0


def test_an_asynchronous_standby_that_lost_commits_has_the_cloud_asked_first(
    scene: tuple[Witness, Gather], nodes: Nodes
) -> None:
    witness, gather = scene
    pair = nodes.pair()
    first, team = pair.server, gather(pair)
    processes = begun(team)
    pair.second.alter("primary_conninfo", "''")
    until(lambda: not first.sql("postgres", "select from pg_stat_replication"))
    made = team.made()
    until(lambda: team.made() > made + 30)
    kept = pair.second.sql(pair.name, "select count(*) from batchsnap.record")[0][0]
    lost = first.sql(pair.name, "select count(*) from batchsnap.record")[0][0] - kept
    first.stop()
    pair.promote()
    told = through(team, witness, processes)
    figure(f"lost {lost} records, of {kept + lost}")
    assert lost > 60
    assert all("claimed anew" in text for text in told)
    assert all("a failover may lose the last intents" in text for text in told)
    quotas = team.cloud.state()["quotas"]
    questions = sum(quota["calls"] for quota in quotas if quota["action"] != "CreateSnapshot")
    assert questions > 0


def test_a_restore_into_another_cluster_has_the_cloud_asked_first(
    scene: tuple[Witness, Gather], nodes: Nodes
) -> None:
    _, gather = scene
    base = new_base(nodes.primary())
    team = gather(base)
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
    on = gather(other)
    ended(on.run("--rate", "20"), most_s=MOST_S)
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
    scene: tuple[Witness, Gather], nodes: Nodes
) -> None:
    witness, gather = scene
    pair = nodes.pair().synchronous()
    team = gather(pair)
    processes = begun(team)
    pair.second.freeze()
    with cancelling(pair) as cancelled:
        began = time.time()
        until(lambda: cancelled[0] > 20)
        until(lambda: time.time() > began + 12.0)
    late = [start.at - began for start in witness.starts if start.at > began + 3.0]
    pair.second.thaw()
    through(team, witness, processes)
    figure(f"cancelled {cancelled[0]} waits; starts after 3 s of it: {len(late)}")
    assert late == []
