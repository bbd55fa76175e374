"""A worker dies, or stands still, at each point of a claim, a commit and a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsnap.failpoints import CLUSTER_POINTS
from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather, until
from tests.postgres import Base, new_base, own_server
from tests.process import Cli

OF_A_CALL = ("token_taken", "bytes_sent", "reply_read")


@pytest.mark.long
@pytest.mark.parametrize("point", [*CLUSTER_POINTS, *OF_A_CALL])
def test_killed_there_each_row_is_made_once(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base, point: str
) -> None:
    write_wide_fleet(tmp_path, 40, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        cli.env["BATCHSNAP_CRASH"] = f"{point}:1"
        killed = team.run()
        assert killed.wait(60) == -9, killed.communicate()
        del cli.env["BATCHSNAP_CRASH"]
        on = team.run()
        assert on.wait(90) == 0, on.communicate()
        team.check(40)
        assert team.events()["doubled"] == 0


@pytest.mark.long
@pytest.mark.parametrize("point", ["token_taken", "claim_written", "group_sent"])
def test_frozen_there_for_twelve_seconds_it_sends_nothing_that_another_sent(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base, point: str
) -> None:
    write_wide_fleet(tmp_path, 60, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        cli.env["BATCHSNAP_STALL"] = (
            f"{point}:1:12" if point == "claim_written" else f"{point}:9:12"
        )
        frozen = team.run()
        del cli.env["BATCHSNAP_STALL"]
        until(lambda: team.owned_by(frozen) > 0)
        helper = team.work()
        assert helper.wait(120) == 0, helper.communicate()
        team.check(60)
        assert team.owned_by(helper) > 0
        assert team.events()["doubled"] == 0


@pytest.mark.long
def test_a_server_that_stands_still_between_a_commit_and_its_answer_changes_no_owner(
    cli: Cli, gather: Gather, tmp_path: Path
) -> None:
    write_wide_fleet(tmp_path, 120, 2)
    with own_server() as server, cloud_of(tmp_path, 2) as cloud:
        team = gather(new_base(server), cloud)
        run = team.run("--rate", "10")
        for _ in range(3):
            made = team.made()
            until(lambda made=made: team.made() > made + 10)  # type: ignore[misc]
            server.stop()
            server.start()
        assert run.wait(90) == 0, run.communicate()
        team.check(120)
        assert team.events()["claimed"] == 2
        assert team.events()["in_doubt"] == 0


@pytest.mark.long
def test_two_ledgers_of_one_pair_have_one_owner_at_a_time(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 100, 1)
    lines = (tmp_path / "fleet.csv").read_text().splitlines()
    (tmp_path / "one.csv").write_text("\n".join(lines[:51]) + "\n")
    (tmp_path / "two.csv").write_text("\n".join([lines[0], *lines[51:]]) + "\n")
    with cloud_of(tmp_path, 1) as cloud:
        first, second = gather(base, cloud, "one"), gather(base, cloud, "two")
        one, two = first.run(manifest="one.csv"), second.run(manifest="two.csv")
        assert (one.wait(90), two.wait(90)) == (0, 0)
        first.check(100)
        marks = base.sql(
            "select line::json ->> 'event' from batchsnap.record "
            "where line::json ->> 'event' in ('claimed', 'released') order by line::json ->> 'at'"
        )
        assert [mark for (mark,) in marks] == ["claimed", "released"] * 2


@pytest.mark.long
def test_two_that_load_at_once_make_one_ledger(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 40, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        both = [team.start_run(), team.start_run()]
        codes = sorted(process.wait(90) for process in both)
        assert codes in ([0, 0], [0, 4])
        team.check(40)
