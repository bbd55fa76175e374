"""A refusal that may mean the row or its whole account: other rows tell, whatever the order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.process import Cli, Cloud, disk, sets, simulator, write_fleet

RUN = ("run", "fleet.csv", "--json")
FAST = (*RUN, "--rate", "400", "--api-limit", "400")
DENIED = "UnauthorizedOperation"
FULL = "InsufficientSnapshotQuota"


def to(cloud: Cloud) -> dict[str, str]:
    return {"BATCHSNAP_ENDPOINT": cloud.url}


def refusing(numbers: Iterable[int], code: str) -> dict[str, Any]:
    """A scenario without a cap, in which these disks are refused."""
    error = {"do": "error", "code": code}
    script = [{"match": {"disk_id": disk(n)}, **error} for n in numbers]
    return {"cap_per_s": 0, "script": script}


def everyone(code: str) -> dict[str, Any]:
    return {"cap_per_s": 0, "script": [{"do": "error", "code": code}]}


@pytest.mark.parametrize("code", [DENIED, "AuthFailure.UnauthorizedOperation", FULL])
@pytest.mark.parametrize("first", [0, 60])
def test_ten_disks_in_a_row_that_are_refused_stop_no_other(
    cli: Cli, tmp_path: Path, code: str, first: int
) -> None:
    write_fleet(tmp_path, 120)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**refusing(range(first, first + 10), code))
        runs = [cli.run(*FAST, **to(cloud)) for _ in range(3)]
        calls = cloud.quota()["calls"]

        for done in runs:
            assert done.code == 1, done.err
            assert (done.json["accepted"], done.json["rejected"]) == (110, 10)
        assert len(cloud.per_disk()) == 110
        assert calls < 145
    refused = [r for r in cli.records() if r["event"] == "rejected"]
    assert {r["code"] for r in refused} == {code}
    assert all(r["request_id"] and r["message"] for r in refused)


@pytest.mark.parametrize(("code", "scope"), [(DENIED, "account"), (FULL, "region")])
def test_an_account_that_is_denied_everything_halts_soon_and_refuses_nothing(
    cli: Cli, tmp_path: Path, code: str, scope: str
) -> None:
    write_fleet(tmp_path, 120)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**everyone(code))
        done = cli.run(*RUN, **to(cloud))
        calls = cloud.quota()["calls"]
        cloud.scenario(cap_per_s=0)
        mended = cli.run(*FAST, **to(cloud))

        assert done.code == 3, done.err
        assert 8 <= calls <= 40
        assert (done.json["rejected"], done.json["deferred"] + done.json["pending"]) == (0, 120)
        [halt] = done.json["halted"]
        assert (halt["code"], halt["scope"]) == (code, scope)
        assert mended.code == 0, mended.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(120)}


def test_one_disk_that_is_denied_is_tried_twice_and_refused(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**refusing([9], DENIED))
        done = cli.run(*FAST, **to(cloud))

        assert done.code == 1, done.err
        assert (done.json["accepted"], done.json["rejected"]) == (59, 1)
        assert cloud.quota()["calls"] == 61
    [refused] = [r for r in cli.records() if r["event"] == "rejected"]
    assert (refused["disk_id"], refused["code"]) == (disk(9), DENIED)


def test_a_full_disk_is_refused_alone_and_told_how_full_it_is(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 40)
    with simulator(tmp_path) as cloud:
        cli.run("run", "fleet.csv", "--ledger", "before.jsonl", *FAST[2:], **to(cloud))
        cloud.scenario(**refusing([3], FULL), creating_s=0.0)
        done = cli.run(*FAST, **to(cloud))

        assert done.code == 1, done.err
        assert (done.json["accepted"], done.json["rejected"]) == (39, 1)
    [refused] = [r for r in cli.records() if r["event"] == "rejected"]
    assert refused["disk_id"] == disk(3)
    assert "this disk holds 1 snapshots" in refused["message"]


@pytest.mark.parametrize("code", ["InvalidDisk.NotSupportSnapshot", "InvalidDisk.TypeError"])
def test_disks_that_have_no_snapshots_stop_nobody_though_they_come_first(
    cli: Cli, tmp_path: Path, code: str
) -> None:
    write_fleet(tmp_path, 40)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**refusing(range(20), code))
        done = cli.run(*FAST, **to(cloud))

        assert done.code == 1, done.err
        assert (done.json["accepted"], done.json["rejected"]) == (20, 20)
        assert cloud.quota()["calls"] == 40


def test_disks_that_are_gone_stop_nobody_where_others_are_seen(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    there = tmp_path / "there.csv"
    there.write_text(
        "DiskId,Region\n" + "".join(f"{disk(i)},ap-guangzhou\n" for i in range(15, 60))
    )
    with simulator(tmp_path, "--fleet", str(there), *sets(cap_per_s=0)) as cloud:
        done = cli.run(*RUN, **to(cloud))

        assert done.code == 1, done.err
        assert (done.json["accepted"], done.json["rejected"]) == (45, 15)
        assert cloud.quota()["calls"] == 60
        assert cloud.quota("DescribeDisks")["calls"] == 1


def test_a_wrong_account_halts_its_region_and_refuses_nothing(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 120)
    with simulator(tmp_path, *sets(cap_per_s=0, not_found=1.0)) as cloud:
        done = cli.run(*RUN, **to(cloud))
        calls = cloud.quota()["calls"]
        cloud.scenario(cap_per_s=0)
        mended = cli.run(*FAST, **to(cloud))

        assert done.code == 3, done.err
        assert 10 <= calls <= 40
        assert (done.json["rejected"], done.json["accepted"]) == (0, 0)
        assert done.json["halted"][0]["code"] == "InvalidDiskId.NotFound"
        assert mended.code == 0, mended.err


def test_first_rows_that_the_api_refuses_alike_are_probed_too(cli: Cli, tmp_path: Path) -> None:
    """A value that is wrong in every row, or in the first ones only."""
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**everyone("InvalidParameterValue"))
        all_of_them = cli.run(*RUN, "--ledger", "all.jsonl", **to(cloud))
        cloud.scenario(**refusing(range(15), "InvalidParameterValue"))
        some = cli.run(*RUN, **to(cloud))

    assert (all_of_them.code, all_of_them.json["rejected"]) == (3, 0), all_of_them.err
    assert (some.code, some.json["accepted"], some.json["rejected"]) == (1, 45, 15), some.err


def test_a_policy_that_is_revoked_in_mid_run_refuses_nothing(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 120)
    with simulator(tmp_path) as cloud:
        revoked = {"match": {"nth": list(range(50, 400))}, "do": "error", "code": DENIED}
        cloud.scenario(cap_per_s=0, script=[revoked])
        done = cli.run(*FAST, **to(cloud))
        cloud.scenario(cap_per_s=0)
        again = cli.run(*FAST, **to(cloud))

        assert done.code == 3, done.err
        assert (done.json["accepted"], done.json["rejected"]) == (49, 0)
        assert again.code == 0, again.err


def test_suspects_go_last_in_the_next_life(cli: Cli, tmp_path: Path) -> None:
    """Half of the fleet is denied, all that is tried first: each life makes what it can."""
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**everyone(DENIED))
        cli.run(*FAST, **to(cloud))
        suspects = {r["disk_id"] for r in cli.records() if r["event"] == "deferred"}
        cloud.scenario(cap_per_s=0)
        done = cli.run(*FAST, **to(cloud))

    assert done.code == 0, done.err
    intents = [r["disk_id"] for r in cli.records() if r["event"] == "intent"]
    assert set(intents[-len(suspects) :]) == suspects


@pytest.mark.parametrize("rows", [1, 4])
def test_a_few_rows_that_are_all_denied_are_not_refused(
    cli: Cli, tmp_path: Path, rows: int
) -> None:
    write_fleet(tmp_path, rows)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**everyone(DENIED))
        done = cli.run(*FAST, **to(cloud))

    assert done.code == 3, done.err
    assert (done.json["deferred"], done.json["rejected"]) == (rows, 0)


def test_a_region_that_is_denied_leaves_the_others_alone(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 40, regions=("ap-tokyo", "ap-seoul"))
    with simulator(tmp_path) as cloud:
        denied = {"match": {"region": "ap-tokyo"}, "do": "error", "code": DENIED}
        cloud.scenario(cap_per_s=0, script=[denied])
        done = cli.run(*FAST, **to(cloud))

        assert done.json["accepted"] == 20, done.err


def test_a_key_that_is_gone_halts_at_once(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        cloud.scenario(**everyone("AuthFailure.SecretIdNotFound"))
        done = cli.run("run", "fleet.csv", "--json", **to(cloud))

        assert done.code == 3, done.err
    assert "nothing was sent" not in cli.run("status", "fleet.csv.ledger.jsonl").out
    # What waited for its token then was given back.
    assert "unsent" in [r["event"] for r in cli.records()]
