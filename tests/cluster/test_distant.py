"""A database in another region, as it should be: each answer takes a tenth of a second and more."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.net import distant
from tests.cluster.nodes import servers
from tests.cluster.team import Gather, ended, figure
from tests.postgres import new_base

ROWS = 300


@pytest.mark.long
@pytest.mark.parametrize("one_way_ms", [1, 25, 50, 100])
def test_a_distant_database_makes_a_run_slower_and_changes_no_owner(
    gather: Gather, tmp_path: Path, one_way_ms: int
) -> None:
    write_wide_fleet(tmp_path, ROWS, 2)
    with servers() as nodes, cloud_of(tmp_path, 2) as cloud:
        node = nodes.primary()
        base = new_base(node)
        with distant(node.folder / ".s.PGSQL.5432", one_way_ms / 1000) as port:
            team = gather(base, cloud)
            team.url = f"postgresql://worker@127.0.0.1:{port}/{base.name}/nightly?sslmode=disable"
            run = team.run()
            began = time.monotonic()
            ended(run, most_s=180)
        team.check(ROWS)
        assert team.events()["claimed"] == 2
        assert team.events()["doubled"] == team.events()["in_doubt"] == 0
        figure(
            f"{one_way_ms} ms one way: {ROWS} rows of 2 quotas in {time.monotonic() - began:.0f} s"
        )
