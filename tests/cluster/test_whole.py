"""A ledger that many machines worked on, taken up by one: settled, awaited, rolled back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather, until
from tests.postgres import Base
from tests.process import Cli


@pytest.mark.slow
def test_wait_and_rollback_work_on_all_quotas_once_nobody_owns_one(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 80, 2)
    with cloud_of(tmp_path, 2, creating_s=1.0) as cloud:
        team = gather(base, cloud)
        run = team.run()
        until(lambda: team.made() > 20)
        refused = cli.run("rollback", team.url, "--yes")
        assert refused.code == 4, refused.err
        assert f":{run.pid}" in refused.err
        assert "batchsnap stop" in refused.err
        assert run.wait(60) == 0, run.communicate()

        settled = cli.run("settle", team.url, "--json")
        assert settled.code == 0, settled.err
        waited = cli.run("wait", team.url, "--json")
        assert waited.code == 0, waited.err
        assert waited.json["ready"] == 80
        status = cli.run("status", team.url, "--json")
        assert status.json["ready"] == 80
        back = cli.run("rollback", team.url, "--yes", "--json")
        assert back.code == 0, back.err
        assert cloud.state()["snapshots"] == []
        assert team.events()["deleted"] == 80
        assert team.events()["claimed"] == team.events()["released"]


@pytest.mark.long
def test_what_a_killed_worker_left_in_doubt_is_settled_without_sending(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 80, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        run = team.run()
        until(lambda: team.made() > 20)
        run.kill()
        run.wait()
        made = team.made()
        settled = cli.run("settle", team.url, "--json", "--settle-for", "1s")
        assert settled.code == 0, settled.err
        assert settled.json["in_doubt"] == 0
        assert team.made() == made
        on = team.run()
        assert on.wait(60) == 0, on.communicate()
        team.check(80)
