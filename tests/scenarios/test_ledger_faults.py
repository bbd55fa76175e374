"""Disks that fail: nobody is told that a record is durable which is not, and nothing follows it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from batchsnap.errors import LedgerUnwritable
from batchsnap.ledger import disk
from batchsnap.ledger.reading import records
from batchsnap.ledger.store import Ledger
from tests.ledger_files import ROOT, HeldSync, fill, opened, turns, written
from tests.records import birth, moved


def keys(path: Path) -> list[str]:
    return [record["key"] for record in records(path) if "key" in record]


def resumed(path: Path, done: int) -> None:
    """What was durable is there, the rest was cut and kept, and it goes on."""
    ledger = Ledger.open(path)
    assert len(ledger.fold.cohorts) == done
    assert ledger.was_cut is (ledger.cut_bytes > 0) is disk.broken(path).exists()
    anyio.run(written, ledger, moved("intent", 999))
    assert keys(path) == [*(f"disk-{n:08x}" for n in range(done)), f"disk-{999:08x}"]


_LIMITED = """
import resource, signal, sys
from pathlib import Path
import anyio
from batchsnap.ledger.store import Ledger
from tests.records import birth
from tests.ledger_files import fill
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
print(anyio.run(fill, Ledger.create(Path(sys.argv[1]), birth())))
"""


def test_a_file_that_may_not_grow_stops_the_run_and_goes_on_when_it_may(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    command = [sys.executable, "-c", _LIMITED, str(path), "3000"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    error, done = said.splitlines()
    assert "File too large" in error
    assert path.stat().st_size == 3000  # the short write was taken, the rest refused
    assert len(keys(path)) == int(done) > 0
    resumed(path, int(done))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, nearly full."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a full disk needs the right to mount one: {done.stderr.strip()}")
    (folder / "filler").write_bytes(b"x" * 48 * 1024)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_it_goes_on_after_room_is_made(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_disk / "ledger"
    done = anyio.run(fill, Ledger.create(path, birth()))
    assert "No space left on device. Nothing more is sent. Make room" in capsys.readouterr().out
    assert done > 0
    assert len(keys(path)) == done
    for _ in range(2):  # no room yet: refused, and no half copies pile up
        with pytest.raises(LedgerUnwritable, match=r"can't repair .*No space left"):
            Ledger.open(path)
        assert sorted(os.listdir(small_disk)) == ["filler", "ledger"]
    (small_disk / "filler").unlink()
    resumed(path, done)


def test_after_a_failed_sync_its_waiters_and_all_later_ones_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told = tmp_path / "ledger", []

    async def wait_for(ledger: Ledger, number: int) -> None:
        with pytest.raises(LedgerUnwritable, match="Input/output error"):
            await ledger.durable(ledger.append(moved("intent", number)))
        told.append(number)

    async def scenario() -> None:
        async with opened(path) as ledger:
            await ledger.durable(ledger.append(moved("intent", 0)))
            sync = HeldSync(monkeypatch)
            held = os.fdatasync

            def fail(fd: int) -> None:
                held(fd)
                raise OSError(5, "Input/output error")

            monkeypatch.setattr(os, "fdatasync", fail)
            async with anyio.create_task_group() as tasks:
                for number in (1, 2):
                    tasks.start_soon(wait_for, ledger, number)
                await sync.under_way()
                tasks.start_soon(wait_for, ledger, 3)  # of the next group
                await turns()
                sync.leave.release(2)
            assert sorted(told) == [1, 2, 3]
            assert sync.count == 1  # a disk that failed is not written to again
            assert ledger.failure is not None
            with pytest.raises(LedgerUnwritable, match="Nothing more is sent"):
                ledger.append(moved("intent", 4))

    anyio.run(scenario)
    monkeypatch.undo()
    assert keys(path) == [f"disk-{n:08x}" for n in range(3)]
    rewritten: list[int] = []
    real = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        rewritten.append(offset)
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    ledger = Ledger.open(path)  # 1 and 2 may never have reached the disk: written again first
    lines = path.read_bytes().splitlines(keepends=True)
    assert min(rewritten) <= len(lines[0]) + len(lines[1])
    assert len(ledger.fold.cohorts) == 3
    ledger.release()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_ledger_moved_away_under_us_fails_the_next_commit(tmp_path: Path, replaced: bool) -> None:
    path, away = tmp_path / "ledger", tmp_path / "away"

    async def scenario() -> None:
        async with opened(path) as ledger:
            await ledger.durable(ledger.append(moved("intent", 1)))
            path.rename(away)
            if replaced:
                path.write_bytes(away.read_bytes())
            with pytest.raises(LedgerUnwritable, match="moved away or replaced"):
                await ledger.durable(ledger.append(moved("intent", 2)))
            with pytest.raises(LedgerUnwritable):
                ledger.append(moved("intent", 3))

    anyio.run(scenario)
    assert keys(away) == ["disk-00000001", "disk-00000002"]


def test_a_link_that_leads_elsewhere_now_fails_the_next_commit(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "first")

    async def scenario() -> None:
        async with opened(link) as ledger:
            await ledger.durable(ledger.append(moved("intent", 1)))
            link.unlink()
            link.symlink_to(tmp_path / "second")
            with pytest.raises(LedgerUnwritable, match="moved away or replaced"):
                await ledger.durable(ledger.append(moved("intent", 2)))

    anyio.run(scenario)


def test_a_ledger_moved_away_is_held_no_more_under_its_old_name(tmp_path: Path) -> None:
    """Whoever comes next finds no ledger: it neither waits for ours nor takes it for its own."""
    path = tmp_path / "ledger"
    ours = Ledger.create(path, birth())
    path.rename(tmp_path / "away")
    with pytest.raises(LedgerUnwritable, match="No such file"):
        Ledger.open(path)
    theirs = Ledger.create(path, birth(run_id="theirs"))
    theirs.release()
    ours.release()
