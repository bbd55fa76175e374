"""Night after night: `--new` starts a run beside a finished one, and only beside a finished one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchsnap.client.stopping import Stop
from batchsnap.errors import UsageError
from batchsnap.job import series
from batchsnap.ledger.file import FileStore, series_of
from batchsnap.ledger.record import decode, encode, stamp
from batchsnap.ledger.store import Ledger
from tests.process import Cli, Done, disk, sets, simulator, write_fleet
from tests.virtual import VirtualLoop, run_virtual

LEDGER = "fleet.csv.ledger.jsonl"
FAST = ("--rate", "400", "--api-limit", "400")
NIGHTLY = ("run", "fleet.csv", "--ledger", "night.{date}.jsonl", "--settle-for", "0.5s", *FAST)
LOST = {"match": {"disk_id": disk(1)}, "do": "lost_reply"}
NOW = datetime(2026, 11, 26, 1, 17, tzinfo=UTC)


def aged(folder: Path, hours: float) -> Path:
    """The one ledger of `folder`, as if its run had been born so long ago, the day before."""
    [ledger] = folder.glob("night.*.jsonl")
    earlier = ledger.with_name("night.20200101.jsonl")
    head, *lines = ledger.read_bytes().splitlines(keepends=True)
    header = decode(head)
    assert header is not None
    header["at"] = stamp(time.time() - hours * 3600)
    header["home"]["path"] = str(earlier)
    del header["crc"]
    ledger.write_bytes(b"".join([encode(header), *lines]))
    return ledger.rename(earlier)


def nights(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("night.*.jsonl"))


def last_line(done: Done) -> str:
    return done.err.splitlines()[-1]


@pytest.mark.parametrize("since", [("wait",), ("settle",), ("rollback", "--yes")])
def test_a_finished_run_stays_finished_whatever_is_done_with_its_ledger(
    cli: Cli, tmp_path: Path, since: tuple[str, ...]
) -> None:
    """Else the next night finds an unfinished run with nothing left, and makes no snapshot."""
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        first = cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        done = cli.run(since[0], LEDGER, *since[1:])
        watched = cli.run("status", LEDGER, "--watch")
        second = cli.run("run", "fleet.csv", "--new", *FAST, "--endpoint", cloud.url)

        assert (first.code, done.code, second.code) == (0, 0, 0), second.err
        assert "finished at" in watched.out
        assert cloud.state()["created"] == 6
    assert (tmp_path / "fleet.csv.ledger.2.jsonl").exists()


def test_new_goes_on_where_the_run_itself_was_taken_up_again(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        to = ("--endpoint", cloud.url)
        cli.run("run", "fleet.csv", *FAST, *to)
        write_fleet(tmp_path, 4)
        lost = {"match": {"disk_id": disk(3)}, "do": "lost_reply"}
        cloud.scenario(script=[lost])
        cut = cli.run("run", "fleet.csv", "--max-duration", "2s", *FAST, *to)
        again = cli.run("run", "fleet.csv", "--new", "--settle-for", "0.5s", *FAST, *to)

        assert (cut.code, again.code) == (5, 0), again.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(4)}
    assert not (tmp_path / "fleet.csv.ledger.2.jsonl").exists()


def test_a_number_in_the_given_name_is_not_counted_up(cli: Cli, tmp_path: Path) -> None:
    """The next number may be tomorrow's date, or another run's."""
    write_fleet(tmp_path, 1)
    write_fleet(tmp_path, 2, name="other.csv")
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        nightly = ("run", "fleet.csv", "--ledger", "nightly.{date}.jsonl", *FAST)
        nights = [cli.run(*nightly), cli.run(*nightly, "--new"), cli.run(*nightly)]
        second = cli.run("run", "other.csv", "--ledger", "run.2.jsonl", *FAST)
        first = cli.run("run", "fleet.csv", "--ledger", "run.1.jsonl", *FAST)

        assert [night.code for night in nights] == [0, 0, 0], nights[-1].err
        assert (first.code, second.code) == (0, 0), first.err
        assert cloud.per_disk() == {disk(0): 4, disk(1): 1}
    made = [path.stem for path in sorted(tmp_path.glob("nightly.*.jsonl"), key=lambda p: p.stem)]
    assert made == [made[0], f"{made[0]}.2"]


def test_a_run_goes_on_across_midnight(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0, script=[LOST])) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        cut = cli.run(*NIGHTLY, BATCHSNAP_CRASH="outcome_written:2")
        earlier = aged(tmp_path, 11)
        planned = cli.run("plan", "fleet.csv", "--ledger", "night.{date}.jsonl")
        done = cli.run(*NIGHTLY)

        assert (cut.code, planned.code, done.code) == (-9, 0, 0), done.err
        assert nights(tmp_path) == [earlier.name]
        assert f"{earlier.name} is unfinished and goes on" in done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(3)}
        tonight = cli.run(*NIGHTLY)
        assert tonight.code == 0
        assert len(nights(tmp_path)) == 2
        assert cloud.per_disk() == {disk(i): 2 for i in range(3)}
        again = cli.run(*NIGHTLY)
        assert again.code == 0
        assert last_line(again).startswith("no new snapshot was made")
        assert "no new snapshot" not in tonight.err
        assert cloud.state()["created"] == 6


def test_a_night_with_an_open_doubt_does_not_stop_the_next(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0, script=[LOST])) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        first = cli.run(*NIGHTLY, "--max-duration", "1.3s", "--settle-for", "60s")
        assert first.code == 5, first.err
        earlier = aged(tmp_path, 24)
        second = cli.run(*NIGHTLY)

        assert second.code == 0, second.err
        assert "a doubt of it is settled first" in second.err
        assert f"{earlier} was left unfinished, 0 rows in doubt, and is closed" in second.err
        assert cloud.per_disk() == {disk(i): 2 for i in range(3)}
        [_, today] = nights(tmp_path)
        closed = cli.records(earlier.name)[-1]
        assert (closed["event"], closed["exit"]) == ("finished", 5)
        assert closed["superseded_by"] == str(tmp_path / today)
        assert "superseded by" in cli.run("status", earlier.name).out
        assert cli.run(*NIGHTLY).code == 0
        assert cloud.state()["created"] == 6


def test_a_night_that_a_living_process_is_at_is_not_passed_by(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        cli.run(*NIGHTLY, "--max-duration", "0.1s")
        holder = Ledger.open(aged(tmp_path, 24))
        held = cli.run(*NIGHTLY)
        holder.release()
        assert held.code == 4
        assert "another process is at work on" in held.err
        assert cloud.state()["created"] == 0
        named = ("run", "fleet.csv", "--ledger", holder.path.name, "--max-duration", "1h")
        assert cli.run(*named).code == 0
        waiting = Ledger.open(holder.path)  # on a run that has ended
        tonight = cli.run(*NIGHTLY)
        waiting.release()
        assert tonight.code == 0, tonight.err
        assert cloud.per_disk() == {disk(i): 2 for i in range(3)}


def test_a_damaged_night_is_passed_over_when_it_is_old(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        cli.run(*NIGHTLY)
        for hours, code in ((11, 4), (24, 0)):
            earlier = aged(tmp_path, hours)
            lines = earlier.read_bytes().splitlines(keepends=True)
            earlier.write_bytes(b"".join([lines[0], b"x", *lines[1:]]))
            done = cli.run(*NIGHTLY)
            assert done.code == code, done.err
            assert "damaged at byte" in done.err
        assert f"{earlier} is passed over" in done.err
        assert cloud.per_disk() == {disk(i): 2 for i in range(3)}


@pytest.mark.parametrize("name", ["{dat}.jsonl", "{date}/{run}.jsonl", "x.{}.jsonl"])
def test_an_unknown_placeholder_is_refused(cli: Cli, tmp_path: Path, name: str) -> None:
    write_fleet(tmp_path, 1)
    for command in ("run", "plan"):
        refused = cli.run(command, "fleet.csv", "--ledger", name)
        assert refused.code == 2
        assert "unknown placeholder" in refused.err
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_series_is_of_one_name_and_its_newest_day_counts(tmp_path: Path) -> None:
    for day in ("20261123", "20261124", "20261125"):
        (tmp_path / day).mkdir()
    (tmp_path / "20261126").mkdir()
    for name in (
        *("a.20261123.jsonl", "a.20261124.jsonl", "a.20261124.2.jsonl", "b.20261125.jsonl"),
        *("a.20261125.jsonl.lost", "a.2026112.jsonl", "20261124/a.jsonl", "20261125/b.jsonl"),
    ):
        (tmp_path / name).touch()
    flat = series_of(f"{tmp_path}/a.{{date}}.jsonl", NOW)
    assert flat.newest.name == "a.20261126.jsonl"
    assert flat.earlier == FileStore(tmp_path / "a.20261124.2.jsonl")
    deep = series_of(f"{tmp_path}/{{date}}/a.jsonl", NOW)
    assert deep.newest == FileStore(tmp_path / "20261126" / "a.jsonl")
    assert deep.earlier == FileStore(tmp_path / "20261124" / "a.jsonl")
    assert series_of(f"{tmp_path}/c.{{date}}.jsonl", NOW).earlier is None
    (tmp_path / "a.20261126.jsonl").touch()
    assert series_of(f"{tmp_path}/a.{{date}}.jsonl", NOW).earlier is None
    with pytest.raises(UsageError, match="no folder"):
        series_of(f"{tmp_path}/nowhere/{{date}}.jsonl", NOW)


def test_a_doubt_that_nobody_answers_holds_up_the_night_for_a_while_only() -> None:
    class Unanswered:
        async def settle(self, _credentials: Any, own: Stop, _say: Any) -> None:
            with own.ends():
                await anyio.sleep_forever()

    async def settle(seconds: float) -> tuple[bool, float]:
        stop, asked = Stop(), Unanswered()
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(series._settle, asked, None, stop, print)
            await anyio.sleep(seconds)
            if seconds < 900:
                stop.request(5, "the person")  # type: ignore[arg-type]
        return stop.stopping, anyio.current_time() - began

    unasked, full_s = run_virtual(settle(901), VirtualLoop())
    stopped, early_s = run_virtual(settle(3), VirtualLoop())
    assert (unasked, round(full_s)) == (False, 901)
    assert (stopped, round(early_s)) == (True, 3)
