"""A database whose disk was put back to an earlier state, which nothing in it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather
from tests.postgres import Base
from tests.process import Cli, disk

ROWS = 20


@pytest.mark.parametrize("edited", [False, True], ids=["same manifest", "edited manifest"])
def test_what_was_made_since_is_asked_about_and_not_made_again(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base, edited: bool
) -> None:
    write_wide_fleet(tmp_path, ROWS, 1)
    with cloud_of(tmp_path, 1) as cloud:
        team = gather(base, cloud)
        assert team.run().wait(60) == 0
        base.sql("delete from batchsnap.record where seq > 7")  # which no worker's role may do
        base.sql("delete from batchsnap.record where line like '%%finished%%'")
        base.sql("update batchsnap.quota set ended = null")
        base.sql("update batchsnap.ledger set phase = 'stopped'")
        if edited:
            write_wide_fleet(tmp_path, ROWS + 1, 1)
        following = team.run("--ask-first")
        assert following.wait(90) == 0, following.communicate()
        assert cloud.per_disk() == {disk(i): 1 for i in range(ROWS + edited)}
        assert team.events()["settled"] > 0


def test_where_nothing_can_have_been_put_back_it_is_refused(
    cli: Cli, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 1, 1)
    for where, why in ((base.url("x"), "no ledger x"), ("x.jsonl", "by itself")):
        refused = cli.run("run", "fleet.csv", "--ledger", where, "--ask-first")
        assert (refused.code, why in refused.err) == (2, True), refused.err
