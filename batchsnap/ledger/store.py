"""The ledger's file: birth, lock, recovery, append and group commit.

What is appended is written at once, with all that was appended meanwhile, so a killed process loses
none of it. The `fdatasync` comes when somebody waits for it, as each send does for its intent, and
covers all that was written before; an outcome that nobody waits for gets one within SYNC_WITHIN_S.
A power loss in between makes a doubt of it, which is settled like any other.

A thread writes, so a stalled disk stops sends and not the event loop. After a failed write or sync
the ledger is dead for this process: every waiter gets the failure and nothing more is sent.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio

from batchsnap.errors import LedgerDamaged, LedgerError, LedgerLocked, LedgerUnwritable
from batchsnap.failpoints import failpoint
from batchsnap.ledger import disk, gap
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import Record, encode
from batchsnap.ledger.replay import Fold
from batchsnap.ledger.scan import Scan
from batchsnap.lifecycle import Event

SYNC_WITHIN_S = 0.3
"""So long what nobody waits for may be written and not synced: a little more than the quarter of a
second after which a quota at its cap stages its next intents, whose sync it then shares."""


class Group:
    """Records that become durable together."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []  # not yet written
        self.last_seq = 0
        self.holds_intent = False  # among those lines
        self.awaited = False
        self.due = math.inf  # when it is synced, awaited or not
        self.done = asyncio.Event()


class Ledger:
    """The one writer of a ledger file. `fold` tells where every row stands."""

    def __init__(self, path: Path, fd: int, fold: Fold, last_seq: int, cut: int) -> None:
        """Takes a file that is recovered and locked; from here on it only grows."""
        disk.append_only(fd)
        self.path = path
        self.fold = fold
        self.cut_bytes = cut  # what recovery cut off this time
        self.lost = fold.lost or gap.lost_since(path, fd, fold)  # why records may be missing, or ""
        self.failure: LedgerUnwritable | None = None
        self.right = None  # a lock on the file is enough
        self.taps: list[Callable[[Record], None]] = []  # each sees every record taken
        self._fd = fd
        self._end = os.fstat(fd).st_size
        self._seq = self._synced = last_seq
        self._group = Group()
        self._wake = asyncio.Event()
        self._closing = False

    @classmethod
    def create(cls, path: Path, header: Record) -> Self:
        """Give birth to a ledger, whole and locked, or not at all.

        Raises:
            LedgerLocked: another process was faster.
            LedgerUnwritable: the folder does not take it.
        """
        gap.refuse_where_lost(path)
        fold, home = Fold(), disk.real(path)
        try:
            fd, temporary = tempfile.mkstemp(".tmp", f".{home.name}.", home.parent)
        except OSError as error:
            raise LedgerUnwritable(f"can't create a ledger in {home.parent}: {error}") from error
        try:
            header = {**header, "home": gap.home_of(path, fd)}
            fold.apply(header)
            disk.write_all(fd, encode(header))
            with disk.needing("way to make a file last (fsync)", path):
                os.fsync(fd)
            disk.lock_alone(fd, path)
            disk.link(Path(temporary), home)
            failpoint("ledger_born")
            disk.keep_name(home)
            failpoint("ledger_folder_synced")
            return cls(path, fd, fold, 0, 0)
        except FileExistsError:
            os.close(fd)
            raise LedgerLocked(
                f"another process has just created {path}: it does this run. Wait for it, then "
                "run the same command again"
            ) from None
        except OSError as error:
            os.close(fd)
            raise LedgerUnwritable(f"can't create {path}: {error}") from error
        except BaseException:
            os.close(fd)
            raise
        finally:
            with suppress(OSError):  # a second name of the ledger is litter, no reason to fail
                Path(temporary).unlink(missing_ok=True)

    @classmethod
    def find(cls, path: Path) -> Self | None:
        """The ledger, opened, or None where there never was one.

        Raises:
            LedgerError: there was one and it is gone; and as `open` does.
        """
        if path.exists():
            return cls.open(path)
        gap.refuse_where_lost(path)
        return None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Lock a ledger, recover its longest true prefix and make that durable.

        Raises:
            LedgerLocked, LedgerDamaged, LedgerForeign, LedgerUnwritable
            LedgerError: it can't be read, or not be locked.
        """
        fd = disk.open_locked(path)
        try:
            return cls._recovered(path, fd)
        except LedgerDamaged:
            os.close(fd)
            with suppress(OSError):  # whatever is put in its place may be older
                gap.mark_lost(path, b"")
            raise
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def _recovered(cls, path: Path, fd: int) -> Self:
        fold = Fold()
        try:
            with open(fd, "rb", buffering=disk.BLOCK, closefd=False) as file:
                scan = Scan(file)
                for record in scan:
                    fold.apply(record)
            size = os.fstat(fd).st_size
        except OSError as error:
            raise LedgerError(f"can't read {path}: {error}") from error
        try:
            if scan.damaged:
                disk.keep_broken(path, fd, scan.end)
                os.ftruncate(fd, scan.end)
            disk.rewrite_unproven(fd, scan)
            disk.sync_data(fd)
            disk.sync_folder(disk.real(path).parent)  # its maker may have died before doing so
        except OSError as error:
            raise LedgerUnwritable(f"can't repair {path}: {error}") from error
        return cls(path, fd, fold, scan.last_seq, size - scan.end)

    @property
    def label(self) -> str:
        """Its address, to be shown."""
        return str(self.path)

    def records(self) -> Iterator[Record]:
        """All records from the first, as the file has them now; raises as `reading.records`."""
        return records(self.path)

    @property
    def was_cut(self) -> bool:
        """Whether recovery ever cut this ledger."""
        return self.cut_bytes > 0 or self.fold.recovered or disk.broken(self.path).exists()

    @property
    def gap(self) -> Gap:
        """Whether its silence about a row is a proof."""
        if self.lost:
            return Gap.LOST
        return Gap.CUT if self.was_cut else Gap.NONE

    def resume(self, record: Record) -> None:
        """Append a `resumed` record, with which file this is and what was recovered. What was
        lost once is told by every later life, for no life may have asked about every row.

        Raises: as `append` does.
        """
        recovered: dict[str, Any] = {}
        if self.cut_bytes:
            recovered["cut_bytes"] = self.cut_bytes
        if self.lost and not self.fold.lost:
            recovered["lost"] = self.lost
        record = {**record, "home": gap.home_of(self.path, self._fd)}
        self.append({**record, "recovered": recovered} if recovered else record)

    def append(self, record: Record) -> Group:
        """Take a record into the fold and the next group; wait on `durable(group)`.

        Raises:
            LedgerUnwritable: the ledger failed before.
            IllegalMove: the row's life does not allow it; nothing was written.
        """
        if self.failure is not None:
            raise self.failure
        line = encode({"seq": self._seq + 1, "synced": self._synced, **record})
        self.fold.apply(record)
        self._seq += 1
        group = self._group
        group.lines.append(line)
        group.last_seq = self._seq
        group.holds_intent |= record["event"] == Event.INTENT
        self._wake.set()
        for tap in self.taps:
            tap(record)
        return group

    async def durable(self, group: Group) -> None:
        """Wait until the group is on disk.

        Raises:
            LedgerUnwritable: it is not, and nothing may be sent any more.
        """
        group.awaited = True
        self._wake.set()
        await group.done.wait()
        if self.failure is not None:
            raise self.failure

    async def commit(self) -> None:
        """Write and sync groups until `close`. Runs as one task for the ledger's whole life."""
        with disk.Scribe() as scribe:
            while True:
                with anyio.CancelScope(deadline=self._group.due):
                    await self._wake.wait()
                self._wake.clear()
                await self._commit_group(scribe)
                if self._closing and not self._group.last_seq:
                    return

    async def _commit_group(self, scribe: disk.Scribe) -> None:
        """Write what the group has gathered; sync it too where that is due."""
        group, now = self._group, anyio.current_time()
        sync = group.awaited or self._closing or group.due <= now
        if sync:
            self._group = Group()
        elif group.lines:
            group.due = min(group.due, now + SYNC_WITHIN_S)
        data, group.lines = b"".join(group.lines), []
        if self.failure is None and (data or (sync and group.last_seq)):
            try:
                await scribe.do(partial(self._write, data, group.holds_intent, sync))
                if sync:
                    self._synced = group.last_seq
            except OSError as error:
                self.failure = LedgerUnwritable(
                    f"can't write {self.path}: {error.strerror or error}. Nothing more is "
                    "sent. Make room or mend the disk, then run the same command again"
                )
            except gap.NotOurs as error:
                what = f"{error}. Nothing more is sent. Do not delete it: {gap.remedy(self.path)}"
                self.failure = LedgerUnwritable(f"{self.path} {what}")
        if sync or self.failure is not None:
            group.done.set()

    def close(self) -> None:
        """End `commit` after the records appended so far."""
        self._closing = True
        self._wake.set()

    def release(self) -> None:
        """Give up the lock and the file."""
        os.close(self._fd)

    def _write(self, data: bytes, holds_intent: bool, sync: bool) -> None:
        disk.write_all(self._fd, data)
        self._end += len(data)
        if data:
            failpoint("intent_written" if holds_intent else "outcome_written")
        if sync:
            disk.sync_data(self._fd)
        try:
            gap.check_ours(self.path, self._fd, self._end)
        except gap.NotOurs:
            with suppress(OSError):  # nothing is sent any more, marked or not
                gap.mark_lost(self.path, gap.run_line(self.fold))
            raise
        if sync and holds_intent:
            failpoint("intent_synced")
