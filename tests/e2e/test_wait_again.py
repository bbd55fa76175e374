"""`run --wait`, cut off and given again: it goes on waiting, whatever is left to send."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import Cli, disk, sets, simulator, write_fleet, write_profile

FAST = ("--rate", "400", "--api-limit", "400", "--settle-for", "1s")


@pytest.mark.parametrize("first", [("--wait", "--max-duration", "2s"), ()])
def test_run_wait_waits_though_every_row_was_accepted_before(
    cli: Cli, tmp_path: Path, first: tuple[str, ...]
) -> None:
    """The nightly recipe, cut off in its wait; and a run that ended without one."""
    write_fleet(tmp_path, 6)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=5.0)) as cloud:
        made = cli.run("run", "fleet.csv", *FAST, *first, "--json", "--endpoint", cloud.url)
        waited = cli.run("run", "fleet.csv", "--wait", "--json", "--max-duration", "1m")
        again = cli.run("run", "fleet.csv", "--wait", "--json")

        assert (made.code, made.json["accepted"]) == (5 if first else 0, 6), made.err
        assert (waited.code, waited.json["ready"]) == (0, 6), waited.err
        assert (again.code, "nothing is left" in again.err) == (0, True)
        assert cloud.per_disk() == {disk(n): 1 for n in range(6)}


def test_run_wait_waits_for_a_profile_that_has_no_row_left(cli: Cli, tmp_path: Path) -> None:
    write_profile(tmp_path, "team")
    rows = [f"{disk(0)},ap-tokyo,team", f"{disk(1)},ap-tokyo,", f"{disk(2)},ap-tokyo,"]
    manifest = tmp_path / "fleet.csv"
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=4.0)) as cloud:
        manifest.write_text("DiskId,Region,Profile\n" + "\n".join(rows[:2]) + "\n")
        made = cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        manifest.write_text("DiskId,Region,Profile\n" + "\n".join(rows) + "\n")
        waited = cli.run("run", "fleet.csv", "--wait", "--json")

    assert made.code == 0, made.err
    assert (waited.code, waited.json["ready"]) == (0, 3), waited.err
