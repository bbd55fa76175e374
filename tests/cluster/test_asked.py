"""What a person is asked, and told, before a run that is there is taken up."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import SETTLING, Gather, Team, ended, until
from tests.postgres import Base
from tests.process import Cli, disk
from tests.terminal import on_a_terminal, read_to_end, screen


def _loaded(team: Team) -> None:
    """A run that is open, and nobody works on it."""
    run = team.run("--no-work")
    until(lambda: team.phase() == "open")
    run.kill()
    run.communicate()


def test_a_stopped_run_asks_before_it_goes_on(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 6, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        _loaded(team)
        assert cli.run("stop", team.url).code == 0
        command = ("run", "fleet.csv", "--ledger", team.url, "--endpoint", cloud.url, *SETTLING)
        for answer, phase, made in (("n", "stopped", 0), ("y", "finished", 6)):
            run, master = on_a_terminal(cli, *command)
            team.started.append(run)
            os.write(master, f"{answer}\n".encode())
            seen = "\n".join(screen(read_to_end(master)))
            run.wait(60)
            assert "6 snapshots in 1 region (0 rows done" in seen, seen
            assert "Snapshots cost money. Go on?" in seen
            assert team.phase() == phase
            assert team.events()["resumed"] == (made > 0)
            assert team.made() == made


def test_who_joins_those_that_are_at_work_is_not_asked(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 200, 1)
    with cloud_of(tmp_path, 1) as cloud:
        team = gather(base, cloud)
        team.run("--rate", "2")
        until(lambda: team.made() > 0)
        command = ("run", "fleet.csv", "--ledger", team.url, "--endpoint", cloud.url)
        joins, master = on_a_terminal(cli, *command)
        team.started.append(joins)
        until(lambda: team.events()["resumed"] == 1)
        assert cli.run("stop", team.url).code == 0
        seen = "\n".join(screen(read_to_end(master)))
        assert joins.wait(60) == 5, seen
        assert "joins the run of" in seen
        assert "cost money" not in seen


def test_a_broken_manifest_is_said_before_anybody_is_to_stop_anything(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 200, 1)
    whole = (tmp_path / "fleet.csv").read_text()
    with cloud_of(tmp_path, 1) as cloud:
        team = gather(base, cloud)
        run = team.run("--rate", "2")
        until(lambda: team.made() > 0)
        options = ("--ledger", team.url, "--yes", "--endpoint", cloud.url)
        for more, code, said in (
            (",ap-tokyo,p0\n", 2, "a row needs the id"),
            (f"{disk(300)},ap-tokyo,p0\n", 4, "batchsnap stop"),
        ):
            (tmp_path / "fleet.csv").write_text(whole + more)
            refused = cli.run("run", "fleet.csv", *options)
            assert (refused.code, said in refused.err) == (code, True), refused.err
        assert team.phase() == "open"
        run.kill()
        run.communicate()


def test_a_broken_manifest_changes_nothing(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 6, 1)
    with cloud_of(tmp_path, 1) as cloud:
        team = gather(base, cloud)
        _loaded(team)
        with (tmp_path / "fleet.csv").open("a") as file:
            file.write(",ap-tokyo,p0\n")
        assert "a row needs the id" in ended(team.start_run(), 2, most_s=60).err
        assert team.phase() == "open"
        assert team.events()["claimed"] == 0
