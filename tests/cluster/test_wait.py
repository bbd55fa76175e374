"""`run --wait` on many machines ends when every snapshot is ready."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather, ended, until
from tests.postgres import Base
from tests.process import Cli


def test_all_is_ready_at_the_end_and_an_earlier_run_is_waited_for(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 20, 2)
    with cloud_of(tmp_path, 2, creating_s=2.0) as cloud:
        team = gather(base, cloud)
        out, err = team.run().communicate(timeout=90)
        assert json.loads(out)["accepted"] > 0, err
        out, err = team.run("--wait").communicate(timeout=90)
        told = json.loads(out)
        assert (told["ready"], told["accepted"]) == (20, 0), err
        again = cli.run("run", "fleet.csv", "--ledger", team.url, "--wait")
        assert again.code == 0
        assert "nothing is left to do" in again.err
        team.check(20)


@pytest.mark.long
def test_who_joins_may_say_that_all_wait_and_whoever_takes_over_does(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 40, 2)
    with cloud_of(tmp_path, 2, creating_s=12.0) as cloud:
        team = gather(base, cloud)
        run = team.run("--rate", "4")
        until(lambda: team.made() > 4)
        joined = team.run("--wait")
        until(lambda: team.base.sql("select wait from batchsnap.ledger") == [(True,)])
        until(lambda: team.made() == 40)
        run.kill()
        told = ended(joined, most_s=120)
        assert told.json["ready"] == 40, told.err
        team.check(40)
