"""Recovery: whatever a death left behind opens to its longest true prefix, and goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from batchsnap.errors import LedgerDamaged, LedgerError, LedgerForeign, LedgerUnwritable
from batchsnap.ledger import disk, gap, reading, record
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import Record, encode
from batchsnap.ledger.scan import Scan
from batchsnap.ledger.store import Ledger
from tests.ledger_files import written
from tests.records import AT, birth, lines_of, moved

_RECORDS = [
    moved("intent", 1, snapshot_name="n-1"),
    moved("intent", 2, snapshot_name="n-2"),
    moved("accepted", 1, snapshot_id="snap-1"),
    moved("in_doubt", 2, code="fault.timeout"),
]
LINES = lines_of(_RECORDS, [0, 0, 2, 2])
WHOLE = b"".join(LINES)


def events(path: Path) -> list[str]:
    return [record["event"] for record in records(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger[1].jsonl"  # a name that a glob would misread


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No real syncs: a test of bytes, many times over."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)


@pytest.mark.usefixtures("undisturbed")
def test_cut_at_every_byte(path: Path) -> None:
    broken = disk.broken(path)

    async def every_byte() -> None:
        for size in range(len(LINES[0]), len(WHOLE) + 1):
            path.write_bytes(WHOLE[:size])
            broken.unlink(missing_ok=True)
            whole = WHOLE[:size].count(b"\n")
            true = b"".join(LINES[:whole])
            assert len(events(path)) == whole
            ledger = Ledger.open(path)
            assert path.read_bytes() == true
            assert ledger.cut_bytes == size - len(true)
            assert ledger.was_cut is broken.exists() is (size > len(true))
            if ledger.was_cut:
                assert broken.read_bytes() == WHOLE[len(true) : size]
                assert broken.stat().st_mode & 0o7777 == 0o600
            await written(ledger, moved("intent", 3), moved("accepted", 3, snapshot_id="s"))
            assert path.read_bytes().startswith(true)
            again = list(records(path))
            assert [r["event"] for r in again[whole:]] == ["intent", "accepted"]
            assert [r["seq"] for r in again[1:]] == list(range(1, whole + 2))
            assert again[whole]["synced"] == whole - 1

    anyio.run(every_byte)


def test_cut_inside_the_birth_it_is_refused_and_left_alone(path: Path) -> None:
    for size in range(len(LINES[0])):
        path.write_bytes(WHOLE[:size])
        with pytest.raises((LedgerDamaged, LedgerForeign)):
            Ledger.open(path)
        with pytest.raises((LedgerDamaged, LedgerForeign)):
            list(records(path))
        assert path.stat().st_size == size
    assert sorted(os.listdir(path.parent)) == [path.name, gap.lost(path).name]


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"\0", b'{"seq":5', b"\n"])
def test_a_torn_end_is_kept_and_cut(path: Path, tail: bytes) -> None:
    path.write_bytes(WHOLE + tail)
    assert len(events(path)) == 5
    assert path.read_bytes() == WHOLE + tail  # a reader repairs nothing
    ledger = Ledger.open(path)
    assert disk.broken(path).read_bytes() == tail
    anyio.run(written, ledger, moved("intent", 3))
    assert events(path)[-2:] == ["in_doubt", "intent"]


def test_a_group_torn_in_its_middle_is_cut_with_its_good_lines(path: Path) -> None:
    torn = b"".join(LINES[:3]) + b"\0" * 512 + b"\n" + LINES[4]
    path.write_bytes(torn)
    ledger = Ledger.open(path)
    assert path.read_bytes() == b"".join(LINES[:3])
    assert disk.broken(path).read_bytes() == b"\0" * 512 + b"\n" + LINES[4]
    assert ledger.cut_bytes == 513 + len(LINES[4])
    ledger.release()


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines[:2], *lines[3:]],  # deleted
        lambda lines: [*lines[:2], lines[1], *lines[2:]],  # doubled
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],  # swapped
        lambda lines: [*lines[:2], lines[2].replace(b"n-2", b"n-3"), *lines[3:]],  # edited
        lambda lines: [*lines[:2], b"\0" * len(lines[2]), *lines[3:]],
    ],
)
def test_a_damaged_middle_is_refused_with_its_offset_and_left_alone(
    path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    damaged = b"".join(change(LINES))
    path.write_bytes(damaged)
    good = next(n for n, (a, b) in enumerate(zip(damaged, WHOLE, strict=False)) if a != b)
    offset = WHOLE[:good].rfind(b"\n") + 1
    for use in (Ledger.open, lambda p: list(records(p))):
        with pytest.raises(LedgerDamaged, match=f"at byte {offset}:"):
            use(path)
    assert path.read_bytes() == damaged
    assert sorted(os.listdir(path.parent)) == [path.name, gap.lost(path).name]


def test_each_cut_is_kept_under_a_name_of_its_own(path: Path) -> None:
    for tail in (b"first", b"second", b"third"):
        path.write_bytes(WHOLE + tail)
        Ledger.open(path).release()
    first = disk.broken(path)
    names = [first, *(first.with_name(f"{first.name}.{n}") for n in (2, 3))]
    assert [name.read_bytes() for name in names] == [b"first", b"second", b"third"]


def test_that_a_ledger_was_cut_is_remembered(path: Path) -> None:
    path.write_bytes(WHOLE + b"torn")
    Ledger.open(path).release()  # and dies before it wrote anything
    ledger = Ledger.open(path)
    assert (ledger.cut_bytes, ledger.was_cut) == (0, True)
    resumed: Record = {"event": "resumed", "at": AT, "recovered": {"cut_bytes": 4}}
    anyio.run(written, ledger, resumed)
    disk.broken(path).unlink()  # somebody tidied up, or moved the ledger alone
    ledger = Ledger.open(path)
    assert ledger.was_cut
    ledger.release()


def test_nothing_is_cut_before_its_copy_is_durable_and_a_half_copy_is_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(WHOLE + b"torn")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(LedgerUnwritable, match="can't repair"):
        patch.setattr(os, "fsync", full)
        Ledger.open(path)
    assert path.read_bytes() == WHOLE + b"torn"
    assert os.listdir(path.parent) == [path.name]
    Ledger.open(path).release()
    assert disk.broken(path).read_bytes() == b"torn"


@pytest.mark.parametrize("block", [16, 100, 1 << 20])
def test_what_no_record_proves_durable_is_written_again_before_it_is_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    path.write_bytes(WHOLE)  # the last record declares 2 durable: 3 and 4 are not proven
    covered: list[tuple[int, int]] = []
    order: list[str] = []
    real_write, real_sync = os.pwrite, os.fdatasync

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        order.append("write")
        taken = real_write(fd, data[:70], offset)  # short counts
        covered.append((offset, offset + taken))
        return taken

    def fdatasync(fd: int) -> None:
        order.append("sync")
        real_sync(fd)

    monkeypatch.setattr(disk, "BLOCK", block)
    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    Ledger.open(path).release()
    assert path.read_bytes() == WHOLE
    assert covered[0][0] <= len(b"".join(LINES[:3]))
    assert all(a[1] == b[0] for a, b in pairwise(covered))
    assert covered[-1][1] == len(WHOLE)
    assert order.index("sync") > max(n for n, what in enumerate(order) if what == "write")


def test_a_ledger_whose_rewriting_fails_is_not_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(WHOLE)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(LedgerUnwritable, match="Input/output error"):
        Ledger.open(path)


def test_a_medium_that_can_not_be_read_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(WHOLE)

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(reading._AsItIs, "readinto", fail)
        with pytest.raises(LedgerError, match=r"can't read the ledger .*Input/output error"):
            list(records(path))
    with monkeypatch.context() as patch:
        patch.setattr(Scan, "__iter__", fail)
        with pytest.raises(LedgerError, match=r"can't read .*Input/output error"):
            Ledger.open(path)


# -- readers beside a writer -------------------------------------------------------------------


def test_a_line_that_grows_while_it_is_read_is_no_damage(path: Path) -> None:
    path.write_bytes(b"".join(LINES[:3]) + LINES[3][:50])
    reader = records(path)
    assert next(reader)["event"] == "run"
    with path.open("ab") as file:
        file.write(LINES[3][50:] + LINES[4])
    assert [r["event"] for r in reader] == ["intent", "intent"]
    assert events(path) == ["run", "intent", "intent", "accepted", "in_doubt"]


def test_a_repair_while_it_is_read_is_no_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has buffered a part of the torn end when a writer cuts it and goes on."""
    monkeypatch.setattr(reading, "_BLOCK", 32)
    monkeypatch.setattr(record, "_AT_ONCE", 1)
    path.write_bytes(b"".join(LINES[:3]) + b"\0" * 4000)
    reader = records(path)
    got = [next(reader)["event"] for _ in range(3)]
    anyio.run(written, Ledger.open(path), _RECORDS[2], _RECORDS[3], moved("intent", 3))
    got += [r["event"] for r in reader]
    assert got == ["run", "intent", "intent", "accepted", "in_doubt", "intent"]


def test_damage_that_stays_is_found_by_a_reader_too(path: Path) -> None:
    path.write_bytes(WHOLE.replace(b'"n-1"', b'"n-7"'))
    got = []
    with pytest.raises(LedgerDamaged, match=f"at byte {len(LINES[0])}:"):
        for record in records(path):
            got.append(record["event"])
    assert got == ["run"]  # what came before the damage


def test_lines_longer_than_a_block_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_BLOCK", 16)
    gone = [f"disk-{n:08x}" for n in range(1000)]
    resumed: Record = {"event": "resumed", "at": AT, "manifest": {"rows": 1, "gone": gone}}
    path.write_bytes(encode(birth()) + encode({"seq": 1, "synced": 0, **resumed}))
    assert [len(r["manifest"].get("gone", ())) for r in records(path)] == [0, 1000]
