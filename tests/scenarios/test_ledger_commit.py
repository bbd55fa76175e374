"""Group commit: nobody returns before its own sync, many share one, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from batchsnap.errors import IllegalMove, LedgerUnwritable
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import Record
from batchsnap.ledger.scan import Scan
from batchsnap.ledger.store import Ledger
from tests.ledger_files import HeldSync, opened, turns
from tests.records import AT, birth, moved

WAITERS = 64


def test_many_waiters_share_few_syncs_and_none_returns_before_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, returned = tmp_path / "ledger", []

    async def wait_for(ledger: Ledger, number: int) -> None:
        await ledger.durable(ledger.append(moved("intent", number)))
        on_disk = [r["key"] for r in records(path) if "key" in r]
        assert f"disk-{number:08x}" in on_disk
        returned.append(number)

    async def scenario() -> None:
        async with opened(path) as ledger, anyio.create_task_group() as tasks:
            sync = HeldSync(monkeypatch)
            tasks.start_soon(wait_for, ledger, 0)
            await sync.under_way()
            for number in range(1, WAITERS):
                tasks.start_soon(wait_for, ledger, number)
            await turns()
            assert returned == []
            sync.leave.release()
            await sync.under_way()  # the second sync, with all the others in it
            await turns()
            assert returned == [0]
            sync.leave.release()
            with anyio.fail_after(20):
                while len(returned) < WAITERS:
                    await anyio.lowlevel.checkpoint()
            assert sync.count == 2

    anyio.run(scenario)
    assert [r["seq"] for r in list(records(path))[1:]] == list(range(1, WAITERS + 1))


def test_synced_is_what_was_durable_when_the_record_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger"

    async def scenario() -> None:
        async with opened(path) as ledger:
            sync = HeldSync(monkeypatch)
            ledger.append(moved("intent", 1))
            await sync.under_way()
            for number in (2, 3):
                ledger.append(moved("intent", number))
            sync.leave.release()
            await sync.under_way()  # 1 is durable, 2 and 3 are on their way
            last = ledger.append(moved("intent", 4))
            sync.leave.release(3)
            await ledger.durable(last)
            await ledger.durable(ledger.append(moved("intent", 5)))

    anyio.run(scenario)
    assert [r["synced"] for r in list(records(path))[1:]] == [0, 0, 0, 1, 4]


def test_closing_writes_what_was_taken_and_a_closed_ledger_can_be_finished(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    async def scenario() -> None:
        ledger = Ledger.create(path, birth())
        ledger.append(moved("intent", 1))
        ledger.append(moved("accepted", 1, snapshot_id="s"))
        ledger.close()
        await ledger.commit()
        assert [r["event"] for r in records(path)] == ["run", "intent", "accepted"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ledger.commit)
            group = ledger.append({"event": "finished", "at": AT, "exit": 0})
            ledger.close()
            await ledger.durable(group)
        ledger.release()

    anyio.run(scenario)
    assert [r["event"] for r in records(path)][-1] == "finished"


def test_an_illegal_record_is_not_written_and_leaves_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    async def scenario() -> None:
        async with opened(path) as ledger:
            ledger.append(moved("intent", 1))
            with pytest.raises(IllegalMove):
                ledger.append(moved("intent", 1))
            await ledger.durable(ledger.append(moved("accepted", 1, snapshot_id="s")))

    anyio.run(scenario)
    assert [r.get("seq", 0) for r in records(path)] == [0, 1, 2]


def test_a_record_that_is_no_json_changes_nothing_and_leaves_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    async def scenario() -> None:
        async with opened(path) as ledger:
            with pytest.raises(TypeError):
                ledger.append(moved("intent", 1, snapshot_name="\udcff"))
            assert not ledger.fold.cohorts
            await ledger.durable(ledger.append(moved("intent", 1)))

    anyio.run(scenario)
    assert [r["event"] for r in records(path)] == ["run", "intent"]


def test_taps_see_what_was_taken_and_one_that_fails_loses_no_record(tmp_path: Path) -> None:
    path, seen = tmp_path / "ledger", []

    def tap(record: Record) -> None:
        seen.append(record["event"])
        raise BrokenPipeError

    async def scenario() -> None:
        async with opened(path) as ledger:
            ledger.taps.append(tap)
            with pytest.raises(BrokenPipeError):
                ledger.append(moved("intent", 1))

    anyio.run(scenario)
    assert seen == ["intent"]
    assert [r["event"] for r in records(path)] == ["run", "intent"]


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "ledger", os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))

    async def scenario() -> None:
        async with opened(path) as ledger:
            for number in range(5):
                ledger.append(moved("intent", number))

    anyio.run(scenario)
    scan = Scan(path.read_bytes().splitlines(keepends=True))
    assert len(list(scan)) == 6
    assert not scan.damaged


def test_a_write_that_takes_nothing_is_a_failure_and_no_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "ledger") as ledger:
            monkeypatch.setattr(os, "write", lambda fd, data: 0)
            with pytest.raises(LedgerUnwritable, match="no more bytes"):
                await ledger.durable(ledger.append(moved("intent", 1)))

    anyio.run(scenario)
