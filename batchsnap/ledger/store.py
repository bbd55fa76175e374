"""The ledger's file: birth, lock, recovery, append and group commit.

Whoever appends shares the next write and `fdatasync` with all who append meanwhile. Writes happen
in a worker thread, so a stalled disk stops sends and not the event loop. After a failed write or
sync the ledger is dead for this process: every waiter gets the failure and nothing more is sent.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from batchsnap.errors import LedgerError, LedgerLocked, LedgerUnwritable
from batchsnap.failpoints import failpoint
from batchsnap.ledger import disk
from batchsnap.ledger.record import Record, encode
from batchsnap.ledger.replay import Fold, Scan


class Group:
    """Records that become durable together."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.last_seq = 0
        self.holds_intent = False
        self.done = anyio.Event()


class Ledger:
    """The one writer of a ledger file. `fold` tells where every row stands."""

    def __init__(self, path: Path, fd: int, fold: Fold, last_seq: int, cut: int) -> None:
        self.path = path
        self.fold = fold
        self.cut_bytes = cut  # what recovery cut off this time
        self.failure: LedgerUnwritable | None = None
        self.taps: list[Callable[[Record], None]] = []  # each sees every record taken
        self._fd = fd
        self._seq = self._synced = last_seq
        self._group = Group()
        self._wake = anyio.Event()
        self._closing = False

    @classmethod
    def create(cls, path: Path, header: Record) -> Self:
        """Give birth to a ledger, whole and locked, or not at all.

        Raises:
            LedgerLocked: another process was faster.
            LedgerUnwritable: the folder does not take it.
        """
        fold = Fold()
        fold.apply(header)
        line, home = encode(header), disk.real(path)
        try:
            fd, temporary = tempfile.mkstemp(".tmp", f".{home.name}.", home.parent)
        except OSError as error:
            raise LedgerUnwritable(f"can't create a ledger in {home.parent}: {error}") from error
        try:
            disk.write_all(fd, line)
            os.fsync(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.link(temporary, home)
            failpoint("ledger_born")
            disk.sync_folder(home.parent)
            failpoint("ledger_folder_synced")
        except FileExistsError:
            os.close(fd)
            raise LedgerLocked(
                f"another process has just created {path}: it does this run. Wait for it, then "
                "run the same command again"
            ) from None
        except OSError as error:
            os.close(fd)
            raise LedgerUnwritable(f"can't create {path}: {error}") from error
        finally:
            with suppress(OSError):  # a second name of the ledger is litter, no reason to fail
                Path(temporary).unlink(missing_ok=True)
        return cls(path, fd, fold, 0, 0)

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
        except OSError as error:
            raise LedgerUnwritable(f"can't repair {path}: {error}") from error
        os.lseek(fd, scan.end, os.SEEK_SET)
        return cls(path, fd, fold, scan.last_seq, size - scan.end)

    @property
    def was_cut(self) -> bool:
        """Whether recovery ever cut this ledger, so that its silence about a row is no proof."""
        return self.cut_bytes > 0 or self.fold.recovered or disk.broken(self.path).exists()

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
        group.holds_intent |= record["event"] == "intent"
        self._wake.set()
        for tap in self.taps:
            tap(record)
        return group

    async def durable(self, group: Group) -> None:
        """Wait until the group is on disk.

        Raises:
            LedgerUnwritable: it is not, and nothing may be sent any more.
        """
        await group.done.wait()
        if self.failure is not None:
            raise self.failure

    async def commit(self) -> None:
        """Write and sync groups until `close`. Runs as one task for the ledger's whole life."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            group, self._group = self._group, Group()
            if group.lines and self.failure is None:
                try:
                    await anyio.to_thread.run_sync(self._write, group)
                    self._synced = group.last_seq
                except OSError as error:
                    self.failure = LedgerUnwritable(
                        f"can't write {self.path}: {error.strerror or error}. Nothing more is "
                        "sent. Make room or mend the disk, then run the same command again"
                    )
            group.done.set()
            if self._closing and not self._group.lines:
                return

    def close(self) -> None:
        """End `commit` after the records appended so far."""
        self._closing = True
        self._wake.set()

    def release(self) -> None:
        """Give up the lock and the file."""
        os.close(self._fd)

    def _write(self, group: Group) -> None:
        disk.write_all(self._fd, b"".join(group.lines))
        failpoint("intent_written" if group.holds_intent else "outcome_written")
        disk.sync_data(self._fd)
        if not disk.is_at(self.path, self._fd):
            raise FileNotFoundError(errno.ENOENT, "the file was moved away or replaced")
        if group.holds_intent:
            failpoint("intent_synced")
