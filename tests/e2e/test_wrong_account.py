"""Another account's key sees nothing, and what it does not see is not gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.process import Cli, Cloud, sets, simulator, write_fleet

FAST = ("--rate", "400", "--api-limit", "400", "--settle-for", "1s")
LEDGER = "fleet.csv.ledger.jsonl"
MADE = sets(cap_per_s=0, creating_s=0.0)


def look_with(cloud: Cloud, *, ours: bool, **more: Any) -> None:
    """What our own key sees, or another account's: neither these disks nor their snapshots."""
    cloud.scenario(not_found=0.0 if ours else 1.0, hides_snapshots=not ours, **more)


def test_a_rollback_under_another_account_calls_nothing_gone(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 4)
    with simulator(tmp_path, *MADE) as cloud:
        cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        look_with(cloud, ours=False)
        wrong = cli.run("rollback", LEDGER, "--yes", "--json", "--settle-for", "1s")
        look_with(cloud, ours=True)
        right = cli.run("rollback", LEDGER, "--yes", "--json", "--settle-for", "1s")

        assert (wrong.code, wrong.json["accepted"], wrong.json["vanished"]) == (5, 4, 0), wrong.err
        assert "not deleted: 4: in ap-guangzhou this credential sees neither" in wrong.err
        assert (right.code, right.json["deleted"]) == (0, 4), right.err
        assert cloud.state()["snapshots"] == []


def test_what_may_have_been_deleted_is_not_called_so_by_another_account(
    cli: Cli, tmp_path: Path
) -> None:
    write_fleet(tmp_path, 4)
    with simulator(tmp_path, *MADE) as cloud:
        cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        killed = cli.run("rollback", LEDGER, "--yes", BATCHSNAP_CRASH="deleting_synced")
        look_with(cloud, ours=False)
        wrong = cli.run("rollback", LEDGER, "--yes", "--json", "--settle-for", "1s")

        assert killed.code == -9
        assert (wrong.code, wrong.json["deleted"]) == (5, 0), wrong.err
        assert cloud.state()["alive"] == 4


@pytest.mark.parametrize("command", [("wait", LEDGER), ("run", "fleet.csv", "--wait")])
def test_a_wait_under_another_account_goes_on(
    cli: Cli, tmp_path: Path, command: tuple[str, ...]
) -> None:
    write_fleet(tmp_path, 4)
    with simulator(tmp_path, *MADE) as cloud:
        cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        look_with(cloud, ours=False)
        waited = cli.run(*command, "--json", "--settle-for", "1s", "--max-duration", "6s")
        look_with(cloud, ours=True)
        again = cli.run(*command, "--json", "--settle-for", "1s")

    assert (waited.code, waited.json["accepted"]) == (5, 4), waited.err
    assert waited.err.count("this credential sees neither") == 1
    assert (again.code, again.json["ready"]) == (0, 4), again.err


@pytest.mark.parametrize("answered", [True, False])
def test_what_is_never_seen_again_is_not_awaited_for_ever(
    cli: Cli, tmp_path: Path, answered: bool
) -> None:
    write_fleet(tmp_path, 2)
    broken = {"match": {"action": "DescribeDisks"}, "do": "error", "code": "InternalError"}
    with simulator(tmp_path, *MADE) as cloud:
        cli.run("run", "fleet.csv", *FAST, "--retry-for", "1s", "--endpoint", cloud.url)
        look_with(cloud, ours=False, script=[] if answered else [broken])
        waited = cli.run("wait", LEDGER, "--json", "--settle-for", "1s")

    assert (waited.code, waited.json["accepted"]) == (5, 2), waited.err


def test_a_rollback_deletes_what_was_called_vanished_too_early(cli: Cli, tmp_path: Path) -> None:
    """Where the policy forbids DescribeDisks, nothing tells another account from ours."""
    write_fleet(tmp_path, 4)
    with simulator(tmp_path, *MADE) as cloud:
        cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        look_with(cloud, ours=False, no_describe_disks=True)
        wrong = cli.run("wait", LEDGER, "--json", "--settle-for", "1s", "--max-duration", "20s")
        look_with(cloud, ours=True)
        rolled = cli.run("rollback", LEDGER, "--yes", "--json", "--settle-for", "1s")

        assert (wrong.code, wrong.json["vanished"]) == (1, 4), wrong.err
        assert "DescribeDisks is denied" in wrong.err
        assert "Grant cvm:DescribeDisks and cbs:DescribeDisks" in wrong.err
        assert (rolled.code, rolled.json["deleted"]) == (0, 4), rolled.err
        assert cloud.state()["snapshots"] == []
