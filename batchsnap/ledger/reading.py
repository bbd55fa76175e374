"""Reading a ledger without locking or changing it, also while a writer is at work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from batchsnap.errors import LedgerError
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Scan, headed

_BLOCK = 1 << 20


def records(path: Path) -> Iterator[Record]:
    """The records of a ledger, one by one.

    Raises:
        LedgerError: there is no such file, or it can't be read.
        LedgerDamaged, LedgerForeign
    """
    try:
        file = path.open("rb", buffering=_BLOCK)
    except OSError as error:
        raise LedgerError(f"can't read the ledger {path}: {error.strerror}") from error
    with file:
        yield from headed(Scan(_settled_lines(file)))


def _settled_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines up to where the file ends now: a line that grows while it is read is no damage."""
    left = os.fstat(file.fileno()).st_size
    for line in file:
        left -= len(line)
        if left < 0:
            return
        yield line
