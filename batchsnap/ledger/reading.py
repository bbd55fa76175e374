"""Reading a ledger without locking or changing it, also while a writer is at work."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from batchsnap.errors import LedgerDamaged, LedgerError
from batchsnap.ledger.ports import Owned
from batchsnap.ledger.record import Record, decoded
from batchsnap.ledger.scan import Scan

_BLOCK = 1 << 20


def records(path: Path) -> Iterator[Record]:
    """The records of a ledger, one by one.

    Raises:
        LedgerError: there is no such file, or it can't be read.
        LedgerDamaged, LedgerForeign
    """
    seen, damaged_at = 0, -1
    while True:
        try:
            with path.open("rb", buffering=0) as file:
                scan = Scan(io.BufferedReader(_AsItIs(file), _BLOCK))
                yield from islice(scan, seen, None)
            return
        except LedgerDamaged:
            # A writer that recovers cuts a torn end and goes on there. Who read across that moment
            # has half of each; only what is still damaged at a second look is.
            if scan.end == damaged_at:
                raise
            seen, damaged_at = scan.last_seq + 1, scan.end
        except OSError as error:
            raise LedgerError(f"can't read the ledger {path}: {error.strerror}") from error


class FileFollower:
    """Reads on where it stopped: for a view of a run that is going on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def more(self) -> list[Record] | None:
        """Whole records since the last call, a block of them at most; None where the file was
        cut or replaced by a shorter one, and all must be read again.

        Raises:
            LedgerError: it can't be read.
        """
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    self._offset = 0
                    return None
                file.seek(self._offset)
                block = file.read(_BLOCK)
                if b"\n" not in block:
                    block += file.readline()
        except OSError as error:
            raise LedgerError(f"can't read the ledger {self._path}: {error.strerror}") from error
        found: list[Record] = []
        for line, record in decoded(block.splitlines(keepends=True)):
            if record is None:
                break  # still growing
            found.append(record)
            self._offset += len(line)
        return found

    def parts(self) -> list[Owned]:
        return []

    def close(self) -> None:
        """No file stays open."""


class _AsItIs(io.RawIOBase):
    """A file up to where it ends now: a line that grows while it is read is no damage."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._left = os.fstat(file.fileno()).st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count
