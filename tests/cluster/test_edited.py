"""An edited manifest: taken in where nobody works on the run, refused where somebody does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather, until
from tests.postgres import Base
from tests.process import Cli, disk


@pytest.mark.long
def test_rows_are_added_and_gone_and_made_ones_are_not_made_again(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 80, 2)
    with cloud_of(tmp_path, 3) as cloud:
        team = gather(base, cloud)
        run = team.run("--rate", "4")
        until(lambda: team.made() > 10)
        lines = (tmp_path / "fleet.csv").read_text().splitlines()
        edited = [*lines[:61], *(f"{disk(i)},ap-tokyo,p2" for i in range(100, 110))]
        (tmp_path / "fleet.csv").write_text("\n".join(edited) + "\n")
        options = ("--ledger", team.url, "--yes", "--endpoint", cloud.url)
        refused = cli.run("run", "fleet.csv", *options)
        assert refused.code == 4, refused.err
        assert "batchsnap stop" in refused.err
        assert "  p0 at 127.0.0.1" in refused.err
        assert cli.run("stop", team.url).code == 0
        assert run.wait(60) == 5, run.communicate()

        out, err = team.run("--rate", "20").communicate(timeout=90)
        assert out, err
        told = json.loads(out)
        assert (told["rows"], told["accepted"], told["pending"]) == (70, 70, 0), err
        per_disk = cloud.per_disk()
        assert set(per_disk.values()) == {1}
        assert {disk(i) for i in (*range(60), *range(100, 110))} <= per_disk.keys()
        assert team.events()["in_doubt"] == 0

        done = cli.run("run", "fleet.csv", *options)
        assert done.code == 0
        assert "nothing is left to do" in done.err
        (tmp_path / "fleet.csv").write_text("\n".join([*edited, f"{disk(200)},ap-tokyo,p1"]))
        more = team.run()
        assert more.wait(60) == 0, more.communicate()
        assert cloud.per_disk()[disk(200)] == 1
        waited = cli.run("wait", team.url, "--json")  # also of rows that are not planned any more
        assert waited.code == 0, waited.err
        assert waited.json["ready"] == 71
        assert set(cloud.per_disk().values()) == {1}


def test_another_fleet_is_another_run(cli: Cli, gather: Gather, tmp_path: Path, base: Base) -> None:
    write_wide_fleet(tmp_path, 2, 1)
    with cloud_of(tmp_path, 1) as cloud:
        team = gather(base, cloud)
        assert team.run().wait(60) == 0
        (tmp_path / "fleet.csv").write_text(f"DiskId,Region,Profile\n{disk(9)},ap-tokyo,p0\n")
        other = team.run()
        assert other.wait(60) == 4
        assert "not one row of this manifest" in other.communicate()[1]
        assert team.events()["claimed"] == team.events()["released"] == 3  # all is given back
