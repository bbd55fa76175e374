"""The operator's brakes, through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import Cli, Cloud, disk, sets, simulator, write_fleet, write_profile

FAST = ("--rate", "400", "--api-limit", "400")


def to(cloud: Cloud) -> dict[str, str]:
    return {"BATCHSNAP_ENDPOINT": cloud.url}


def missing(*numbers: int) -> dict[str, object]:
    """A scenario in which these disks do not exist."""
    script = [{"match": {"disk_id": disk(n)}, "do": "not_found"} for n in numbers]
    return {"cap_per_s": 0, "script": script}


def test_max_errors_halts(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**{**missing(2, 4, 6), "cap_per_s": 20})
        count = cli.run("run", "fleet.csv", "--json", "--max-errors", "3", **to(cloud))
        share = cli.run(
            "run", "fleet.csv", "--json", "--ledger", "b.jsonl", "--max-errors", "5%", **to(cloud)
        )

        for done in (count, share):
            assert done.code == 3, done.err
            assert done.json["rejected"] == 3
            assert done.json["pending"] > 0
            assert done.json["halted"][0]["code"] == "brake"


def test_a_brake_is_not_the_reason_of_the_row_that_it_is_told_with(
    cli: Cli, tmp_path: Path
) -> None:
    write_fleet(tmp_path, 6)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**missing(*range(6)))
        done = cli.run("run", "fleet.csv", "--yes", "--max-errors", "2", **to(cloud))

    assert done.code == 3, done.err
    told = done.out + done.err
    assert "halted the run: brake: 2 rows failed, --max-errors 2" in told
    assert "rejected: brake" not in told
    assert "an unknown code" not in told
    lines = cli.run("report", "fleet.csv", "--format", "csv").out.splitlines()[1:]
    rejected = [line for line in lines if ",rejected," in line]
    assert rejected
    assert all("InvalidDiskId.NotFound" in line for line in rejected)


def test_a_canary_that_is_well_lets_the_rest_go(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 12)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.5)) as cloud:
        done = cli.run("run", "fleet.csv", "--canary", "3", "--settle-for", "3s", **to(cloud))

        assert done.code == 0, done.err
        assert "canary: 3 snapshots are ready" in done.err
    records = cli.records()
    third = [i for i, r in enumerate(records) if r["event"] == "ready"][2]
    assert sum(r["event"] == "intent" for r in records[:third]) == 3
    assert sum(r["event"] == "accepted" for r in records) == 12


def test_a_canary_waits_for_a_row_that_was_not_executed(cli: Cli, tmp_path: Path) -> None:
    """Throttled, busy or settled absent: nothing was made, so the brake must not hold the row."""
    write_fleet(tmp_path, 8)
    with simulator(tmp_path) as cloud:
        refused = [
            {"match": {"disk_id": disk(0), "nth": 1}, "do": "reset"},
            {"match": {"disk_id": disk(1), "nth": [1, 2]}, "do": "throttle_extra"},
        ]
        cloud.scenario(cap_per_s=0, creating_s=0.2, script=refused)
        done = cli.run("run", "fleet.csv", "--canary", "3", "--settle-for", "0.5s", **to(cloud))

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(8)}
    before = [r["event"] for r in cli.records()][: _nth(cli, "ready", 3)]
    assert before.count("accepted") == 3


def _nth(cli: Cli, event: str, nth: int) -> int:
    """Where the nth record of an event is."""
    return [i for i, r in enumerate(cli.records()) if r["event"] == event][nth - 1]


@pytest.mark.parametrize("brake", ["--canary", "--max-creating"])
def test_a_brake_that_nothing_can_let_go_halts(cli: Cli, tmp_path: Path, brake: str) -> None:
    """A policy that forbids DescribeSnapshots would hold the run for ever."""
    write_fleet(tmp_path, 8)
    denied = {"do": "error", "code": "UnauthorizedOperation"}
    with simulator(tmp_path) as cloud:
        script = [{"match": {"action": "DescribeSnapshots"}, **denied}]
        cloud.scenario(cap_per_s=0, creating_s=0.2, script=script)
        done = cli.run("run", "fleet.csv", "--json", brake, "3", "--settle-for", "1s", **to(cloud))

        assert done.code == 3, done.err
        assert (done.json["accepted"], done.json["pending"]) == (3, 5)
        assert f"{brake} waits" in done.json["halted"][0]["message"]
        assert "can't ask about snapshots: UnauthorizedOperation" in done.err


def test_a_canary_that_fails_stops_the_run(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 12)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**missing(1))
        done = cli.run("run", "fleet.csv", "--json", "--canary", "3", **to(cloud))

        assert done.code == 3, done.err
        assert "canary failed" in done.err
        assert cloud.state()["created"] <= 2


def test_a_canary_that_vanishes_is_recorded_though_no_row_is_left(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.2, vanish=1.0)) as cloud:
        done = cli.run(
            *("run", "fleet.csv", "--json", "--wait", "--canary", "3", "--settle-for", "1s"),
            **to(cloud),
        )

        assert done.code == 3, done.err
        assert "canary failed" in done.json["halted"][0]["message"]


def test_after_a_canary_that_failed_the_next_run_has_another(cli: Cli, tmp_path: Path) -> None:
    """A rejected row is no canary: it would hold every later run for ever."""
    write_fleet(tmp_path, 4)
    canary = ("run", "fleet.csv", "--json", "--canary", "1", "--settle-for", "1s")
    with simulator(tmp_path) as cloud:
        cloud.scenario(**missing(0), creating_s=0.2)
        failed = cli.run(*canary, **to(cloud))
        again = cli.run(*canary, **to(cloud))

        assert (failed.code, again.code) == (3, 1), again.err
        assert (again.json["rejected"], again.json["pending"]) == (1, 0)
        assert "canary: 1 snapshots are ready" in again.err
        assert cloud.per_disk() == {disk(n): 1 for n in range(1, 4)}


def test_no_more_are_being_made_at_once_than_allowed(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 12)
    # The cloud refuses a fifth: that it never had to shows that the brake held.
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.4, max_creating=4)) as cloud:
        done = cli.run(
            "run", "fleet.csv", "--json", "--max-creating", "4", "--settle-for", "2s", **to(cloud)
        )

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(12)}
        assert cloud.state()["faults"].get("backpressure", 0) == 0
    assert not any(r.get("verdict") == "BACKPRESSURE" for r in cli.records())


def test_max_duration_ends_unfinished_and_goes_on_later(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        first = cli.run("run", "fleet.csv", "--json", "--max-duration", "2s", **to(cloud))
        second = cli.run("run", "fleet.csv", "--json", "--max-duration", "1h", **to(cloud))

        assert first.code == 5, first.err
        assert 0 < first.json["accepted"] < 60
        assert second.code == 0, second.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(60)}


def test_rejected_rows_are_taken_up_only_when_asked(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 10)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**missing(3, 7))
        first = cli.run("run", "fleet.csv", "--json", *FAST, **to(cloud))
        cloud.scenario(cap_per_s=0)
        again = cli.run("run", "fleet.csv", "--json", **to(cloud))
        retried = cli.run("run", "fleet.csv", "--json", "--retry-failed", **to(cloud))

        assert (first.code, again.code, retried.code) == (1, 1, 0), retried.err
        assert again.json["rejected"] == 2
        assert retried.json["accepted"] == 10
        assert cloud.per_disk() == {disk(i): 1 for i in range(10)}


def test_first_rows_that_all_fail_alike_halt_their_region_only(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 80, regions=("ap-tokyo", "ap-seoul"))
    there = "".join(f"{disk(i)},ap-seoul\n" for i in range(80))
    (tmp_path / "there.csv").write_text(f"DiskId,Region\n{there}")
    with simulator(tmp_path, "--fleet", "there.csv") as cloud:
        done = cli.run("run", "fleet.csv", "--json", **to(cloud))

        assert done.code == 3, done.err
        assert done.json["accepted"] == 40
        assert (done.json["rejected"], done.json["deferred"] >= 10) == (0, True)
        [halt] = done.json["halted"]
        assert (halt["scope"], halt["region"]) == ("region", "ap-tokyo")
        assert halt["code"] == "InvalidDiskId.NotFound"


def two_quotas(folder: Path, ours: int) -> None:
    """A manifest of a row under profile `team`, and `ours` under none."""
    write_profile(folder, "team")
    rows = [f"{disk(n)},ap-guangzhou,{'' if n else 'team'}" for n in range(ours + 1)]
    (folder / "fleet.csv").write_text("DiskId,Region,Profile\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize("brake", [("--canary", "2"), ("--max-creating", "1")])
def test_a_brake_sees_what_a_quota_without_rows_has_made(
    cli: Cli, tmp_path: Path, brake: tuple[str, str]
) -> None:
    """A quota that has started its last row is still watched, for the others wait for it."""
    two_quotas(tmp_path, 4)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.5)) as cloud:
        done = cli.run(
            *("run", "fleet.csv", "--json", *brake, "--settle-for", "1s"),
            *("--max-duration", "15s"),
            **to(cloud),
        )

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(n): 1 for n in range(5)}


def test_a_brake_halts_where_another_quota_can_not_see_its_snapshots(
    cli: Cli, tmp_path: Path
) -> None:
    two_quotas(tmp_path, 4)
    with simulator(tmp_path) as cloud:
        denied = {"do": "error", "code": "UnauthorizedOperation"}
        script = [{"match": {"action": "DescribeSnapshots"}, **denied}]
        cloud.scenario(cap_per_s=0, creating_s=0.2, script=script)
        done = cli.run(
            *("run", "fleet.csv", "--json", "--canary", "2", "--settle-for", "1s"),
            *("--max-duration", "15s"),
            **to(cloud),
        )

        assert (done.code, done.json["accepted"]) == (3, 2), done.err
        assert "--canary waits" in done.json["halted"][0]["message"]


def test_failures_that_are_mended_make_no_room_for_new_ones(cli: Cli, tmp_path: Path) -> None:
    def refused(*numbers: int) -> list[dict[str, object]]:
        lost = {"do": "error", "code": "InvalidParameterValue"}
        return [{"match": {"disk_id": disk(number)}, **lost} for number in numbers]

    write_fleet(tmp_path, 4)
    with simulator(tmp_path) as cloud:
        cloud.scenario(cap_per_s=0, script=refused(0, 2))
        first = cli.run("run", "fleet.csv", **to(cloud))
        write_fleet(tmp_path, 60)
        cloud.scenario(cap_per_s=0, script=refused(10, 12))
        brake = ("--retry-failed", "--max-errors", "2", "--rate", "20")
        done = cli.run("run", "fleet.csv", "--json", *brake, **to(cloud))

    assert first.code == 1, first.err
    assert done.code == 3, done.err
    assert (done.json["rejected"], done.json["pending"] > 0) == (2, True)


def test_a_canary_of_rows_that_failed_before_is_one(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 6)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**missing(*range(6)))
        cli.run("run", "fleet.csv", **to(cloud))
        before = cloud.quota()["calls"]
        done = cli.run("run", "fleet.csv", "--retry-failed", "--canary", "1", **to(cloud))

        assert done.code == 3, done.err
        assert "the canary failed" in done.err
        assert cloud.quota()["calls"] == before + 1
