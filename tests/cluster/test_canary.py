"""`--canary N` on many machines: N snapshots first, ready, and nobody else makes one before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from batchsnap.postgres import schema
from batchsnap.postgres.door import Database
from tests.cluster.fleet import cloud_of, only_keys_of, write_wide_fleet
from tests.cluster.team import Gather, Team, ended, until
from tests.postgres import Base
from tests.process import disk

N = 4


def alone(team: Team, process: subprocess.Popen[str]) -> bool:
    """Whether the run was opened; until then no more than the canary is made."""
    made = team.made()
    phase = team.phase()
    assert phase != "canary" or made <= N, "more than the canary was made"
    assert process.poll() is None or phase != "canary", process.communicate()
    return phase != "canary"


@pytest.mark.slow
def test_n_are_ready_before_any_other_is_made_and_helpers_wait(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 40, 2)
    with cloud_of(tmp_path, 2, creating_s=2.0) as cloud:
        team = gather(base, cloud)
        run = team.run("--canary", str(N))
        helper = team.work()
        until(lambda: alone(team, run))
        states = [snapshot["state"] for snapshot in cloud.state()["snapshots"]]
        assert states.count("NORMAL") >= N
        said = ended(run).err
        assert f"canary: {N} snapshots are ready, going on with the rest" in said
        assert helper.wait(90) == 0, helper.communicate()
        team.check(40)


def test_a_canary_that_could_not_be_claimed_at_once_is_made_later(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    """Its rows are chosen before the cloud is asked whose disks they are."""
    write_wide_fleet(tmp_path, 10, 1)
    unanswered = {"match": {"action": "DescribeDisks", "nth": [1]}, "do": "error_5xx"}
    with cloud_of(tmp_path, 1) as cloud:
        cloud.scenario(script=[unanswered])
        team = gather(base, cloud)
        ended(team.run("--canary", str(N)), most_s=60)
        assert cloud.state()["faults"]["error_5xx"] == 1
        team.check(10)


@pytest.mark.long
def test_who_makes_the_canary_dies_and_another_goes_on_with_it(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 30, 2)
    with cloud_of(tmp_path, 2, creating_s=8.0) as cloud:
        team = gather(base, cloud)
        killed = team.run("--canary", str(N))
        until(lambda: team.made() == N)
        killed.kill()
        killed.wait()
        assert team.phase() == "canary"
        other = Database(base.address())  # a third is at it
        other.run("select pg_advisory_lock(%s)", schema.run_lock(team.ledger))
        following = team.work()
        assert following.stderr is not None
        assert any("another process makes the canary" in line for line in following.stderr)
        assert team.made() == N
        other.close()
        until(lambda: alone(team, following))
        ended(following)
        team.check(30)
        assert team.events()["doubled"] == 0


@pytest.mark.long
def test_a_canary_that_failed_halts_the_run_and_is_replaced_by_the_next(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 20, 1)
    with cloud_of(tmp_path, 1) as cloud:
        cloud.scenario(script=[{"match": {"disk_id": disk(1)}, "do": "not_found"}])
        team = gather(base, cloud)
        failed = team.run("--canary", str(N))
        helper = team.work()
        assert "the canary failed: 1 of its 4 rows" in ended(failed, 3).err
        assert helper.wait(60) == 3, helper.communicate()
        assert team.made() <= N
        following = team.run()
        until(lambda: alone(team, following))
        ended(following, 1)
        assert sorted(cloud.per_disk().values()) == [1] * 19


@pytest.mark.long
def test_a_canary_of_which_nothing_is_told_halts_the_run(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 20, 2)
    denied = {"do": "error", "code": "UnauthorizedOperation"}
    with cloud_of(tmp_path, 2) as cloud:
        cloud.scenario(script=[{"match": {"action": "DescribeSnapshots"}, **denied}])
        team = gather(base, cloud)
        assert "none comes ready" in ended(team.run("--canary", str(N)), 3).err
        assert team.made() == N


@pytest.mark.long
def test_who_lacks_the_keys_for_the_rest_of_it_lets_another_make_that(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    lines = [f"{disk(i)},ap-tokyo,p{int(i > 1)}" for i in range(12)]
    (tmp_path / "fleet.csv").write_text("\n".join(["DiskId,Region,Profile", *lines]) + "\n")
    with cloud_of(tmp_path, 2, creating_s=0.5) as cloud:
        team = gather(base, cloud)
        loaded = team.run("--no-work", "--canary", str(N))
        first = team.work(**only_keys_of(tmp_path, "p0"))
        assert first.stderr is not None
        assert any("whose keys this machine lacks" in line for line in first.stderr)
        assert team.made() == 2
        assert team.work().wait(90) == 0
        assert loaded.wait(90) == 0
        team.check(12)
