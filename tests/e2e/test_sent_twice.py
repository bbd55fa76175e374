"""Rows that were sent twice, settled and rolled back: a second snapshot may be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import Cli, disk, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
SOON = ("--settle-for", "1s")


@pytest.mark.slow
def test_a_rollback_tells_the_second_snapshot_of_a_row(cli: Cli, tmp_path: Path) -> None:
    """Nor does it delete the first before that is known: the second would pass for it."""
    write_fleet(tmp_path, 4)
    with simulator(tmp_path) as cloud:
        late = {"match": {"disk_id": disk(1), "nth": 1}, "do": "late", "seconds": 3.0}
        cloud.scenario(cap_per_s=0, creating_s=0.0, script=[late])
        made = cli.run(
            *("run", "fleet.csv", *SOON, "--max-duration", "5s", "--json"),
            *("--endpoint", cloud.url),
        )
        early = cli.run("rollback", LEDGER, "--yes", "--json", *SOON)
        assert (made.code, made.json["accepted"]) == (5, 4), made.err
        assert (early.code, early.json["deleted"], early.json["accepted"]) == (5, 3, 1), early.err
        assert "not deleted: 1: sent twice and not asked about since: run settle" in early.err

        settled = cli.run("settle", LEDGER, "--json", *SOON, "--max-duration", "1m")
        rolled = cli.run("rollback", LEDGER, "--yes", "--json", *SOON)
        [second] = cloud.state()["snapshots"]
        assert (settled.code, settled.json["doubled"]) == (1, 1), settled.err
        assert (rolled.code, rolled.json["deleted"]) == (5, 4), rolled.err
        told = f"{second['snapshot_id']}, a second snapshot of {disk(1)}: delete it by hand"
        assert told in rolled.err

        cloud.scenario(hides_snapshots=True)  # as if it had been
        assert cli.run("rollback", LEDGER, "--yes", *SOON).code == 0


def test_settle_is_done_where_only_a_run_can_ask_again(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    with simulator(tmp_path) as cloud:
        script = [
            {"match": {"disk_id": disk(1), "nth": 1}, "do": "reset"},
            {"match": {"disk_id": disk(1), "nth": 2}, "do": "busy"},
        ]
        cloud.scenario(cap_per_s=0, creating_s=0.0, script=script)
        made = cli.run(
            *("run", "fleet.csv", *SOON, "--max-duration", "4s", "--json"),
            *("--endpoint", cloud.url),
        )
        settled = cli.run("settle", LEDGER, *SOON)
        rolled = cli.run("rollback", LEDGER, "--yes", "--json", *SOON)

    assert (made.code, made.json["deferred"]) == (5, 1), made.err
    assert "0 rows to ask about" in settled.err
    assert settled.code == 0
    assert (rolled.code, rolled.json["deleted"]) == (5, 1), rolled.err
    assert "not deleted: 1: sent twice without a snapshot so far: run the manifest" in rolled.err


def test_what_bounded_the_run_does_not_bound_settle(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    with simulator(tmp_path) as cloud:
        reset = {"match": {"disk_id": disk(1), "nth": 1}, "do": "reset"}
        cloud.scenario(cap_per_s=0, creating_s=0.0, script=[reset])
        first = cli.run("run", "fleet.csv", "--max-duration", "2s", "--endpoint", cloud.url)
        settled = cli.run("settle", LEDGER, "--json", "--settle-for", "3s")

    assert first.code == 5, first.err
    assert (settled.json["in_doubt"], settled.json["pending"]) == (0, 1), settled.err
    [_, resumed] = [r for r in cli.records() if "settings" in r]
    assert resumed["settings"]["max_duration_s"] == 2.0
