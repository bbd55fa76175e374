"""A ledger that another program cuts, overwrites, replaces or moves, in mid-run or between runs.

What the next life then reads may lack records of calls that were sent. The count of snapshots is
the simulator's own.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from tests.process import Cli, Cloud, disk, sets, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
ROWS = 60
DISKS = {disk(i) for i in range(ROWS)}
# What is made shows late: a question before the schedule's end would take silence for a proof.
LATE_S = 0.25
RUN = ("run", "fleet.csv", "--settle-for", "0.5s", "--rate", "40", "--api-limit", "40")

Harm = Callable[[Path, Path], None]


def truncate(ledger: Path, copy: Path) -> None:
    os.truncate(ledger, 0)


def overwrite(ledger: Path, copy: Path) -> None:
    shutil.copyfile(copy, ledger)


def rename_over(ledger: Path, copy: Path) -> None:
    os.replace(shutil.copyfile(copy, ledger.with_suffix(".tmp")), ledger)


def move_away(ledger: Path, copy: Path) -> None:
    ledger.rename(ledger.with_suffix(".away"))


HARMS: dict[Harm, str] = {
    truncate: "was cut or overwritten by another program",
    overwrite: "was cut or overwritten by another program",
    rename_over: "was moved away or replaced",
    move_away: "was moved away or replaced",
}


@pytest.fixture
def cloud(tmp_path: Path, cli: Cli) -> Iterator[Cloud]:
    write_fleet(tmp_path, ROWS)
    with simulator(tmp_path, *sets(creating_s=0.0, visible_after_s=LATE_S, cap_per_s=0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        yield cloud


@contextmanager
def under_way(cli: Cli, cloud: Cloud) -> Iterator[tuple[Popen[str], Path, Path]]:
    """A run, its ledger, and a copy of it that lacks what was sent since."""
    process = cli.start(*RUN)
    cloud.wait_for(lambda state: state["created"] >= 5, process)
    copy = Path(shutil.copyfile(cli.folder / LEDGER, cli.folder / "copy"))
    cloud.wait_for(lambda state: state["created"] >= 15, process)
    yield process, cli.folder / LEDGER, copy


def killed(cli: Cli, cloud: Cloud) -> tuple[Path, Path]:
    """The ledger of a run that was killed, and the copy that lacks what was sent since."""
    with under_way(cli, cloud) as (process, ledger, copy):
        process.kill()
        process.communicate()
    return ledger, copy


def ends_with_one_each(cli: Cli, cloud: Cloud) -> None:
    done = cli.run(*RUN)
    assert done.code == 0, done.err
    assert "every row that isn't done is asked about before it is sent" in done.err
    assert cloud.per_disk() == dict.fromkeys(DISKS, 1)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_what_is_done_to_it_in_mid_run_stops_the_run_and_doubles_nothing(
    cli: Cli, cloud: Cloud, harm: Harm
) -> None:
    with under_way(cli, cloud) as (process, ledger, copy):
        harm(ledger, copy)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert HARMS[harm] in err
    assert "Nothing more is sent. Do not delete it: put its newest copy in its place" in err
    assert "Nothing was sent" not in err
    assert cloud.state()["created"] < ROWS
    if harm in {truncate, move_away}:
        refused = cli.run(*RUN)
        assert refused.code == 4
        assert "put" in refused.err.lower()
        assert "copy" in refused.err
        shutil.copyfile(f"{ledger}.lost", ledger)  # as the message says
    ends_with_one_each(cli, cloud)


@pytest.mark.parametrize("harm", [rename_over, move_away], ids=lambda harm: harm.__name__)
def test_a_kill_before_it_is_noticed_hides_nothing(cli: Cli, cloud: Cloud, harm: Harm) -> None:
    with under_way(cli, cloud) as (process, ledger, copy):
        process.send_signal(signal.SIGSTOP)
        harm(ledger, copy)
        process.kill()
        process.communicate()
    shutil.copyfile(copy, ledger)
    ends_with_one_each(cli, cloud)


def test_an_older_copy_restored_between_two_runs_is_known_as_one(cli: Cli, cloud: Cloud) -> None:
    """Its inode number may be the very one that the removed file had."""
    ledger, copy = killed(cli, cloud)
    ledger.unlink()
    shutil.copyfile(copy, ledger)
    ends_with_one_each(cli, cloud)


def test_the_life_that_was_killed_before_it_had_asked_hides_nothing(cli: Cli, cloud: Cloud) -> None:
    ledger, copy = killed(cli, cloud)
    os.replace(copy, ledger)
    settled = cli.run("settle", LEDGER, "--settle-for", "0.5s")  # has recorded the new home
    assert settled.code == 0, settled.err
    crashed = cli.start(*RUN, BATCHSNAP_CRASH="intent_synced")
    crashed.communicate(timeout=60)
    ends_with_one_each(cli, cloud)


def test_a_moved_ledger_refuses_no_row_for_its_namesake(cli: Cli, tmp_path: Path) -> None:
    def named(name: str, rows: int, names: str = "nightly") -> None:
        lines = "".join(f"{disk(i)},ap-guangzhou,{names}\n" for i in range(rows))
        (tmp_path / name).write_text("DiskId,Region,SnapshotName\n" + lines)

    run = ("run", "fleet.csv", "--json", "--settle-for", "0.5s")
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        named("older.csv", 3)
        cli.run("run", "older.csv")
        named("fleet.csv", 1)
        assert cli.run(*run).code == 0
        named("fleet.csv", 4)  # the last disk has no namesake
        (tmp_path / "elsewhere").mkdir()
        moved = str((tmp_path / LEDGER).rename(tmp_path / "elsewhere" / "moved.jsonl"))
        waits = cli.run(*run, "--ledger", moved)
        again = cli.run(*run, "--ledger", moved)
        assert (waits.code, again.code) == (5, 5), waits.err
        assert f"was written to {tmp_path / LEDGER} and moved or copied" in waits.err
        assert [waits.json[s] for s in ("accepted", "deferred", "rejected")] == [2, 2, 0]
        assert cloud.per_disk() == {disk(0): 2, disk(1): 1, disk(2): 1, disk(3): 1}
        named("fleet.csv", 4, names="renamed")
        told = cli.run("run", "fleet.csv", "--settle-for", "0.5s", "--ledger", moved)
        assert told.code == 0, told.err
        assert cloud.per_disk() == {disk(0): 2, disk(1): 2, disk(2): 2, disk(3): 1}
    records = cli.records("elsewhere/moved.jsonl")
    homes = [r["home"]["path"] for r in records if "home" in r]
    assert homes[0] == str(tmp_path / LEDGER)
    assert set(homes[1:]) == {moved}
