"""A ledger in PostgreSQL as one file: for the archive, for `jq`, and as the second leg of a plan
for the day on which the database is lost.

It is a copy and says so: a run on it asks the cloud first about every row that isn't done.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from batchsnap.errors import LedgerError, UsageError
from batchsnap.ledger.record import Record, encode
from batchsnap.postgres.address import Address
from batchsnap.postgres.reading import records


def export(address: Address, path: Path) -> int:
    """Write all its records, as they are now; how many.

    Raises:
        UsageError: the file is there. LedgerError: the ledger can't be read, the file not written.
    """
    if path.exists():
        raise UsageError(f"{path} is there: an export makes a new file")
    try:
        fd, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.absolute().parent)
        try:
            with os.fdopen(fd, "wb") as file:
                number = -1
                for number, record in enumerate(records(address)):
                    file.write(encode(_numbered(number, record, address)))
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # whole, or not at all
        finally:
            Path(temporary).unlink()
    except FileExistsError:
        raise UsageError(f"{path} is there: an export makes a new file") from None
    except OSError as error:
        raise LedgerError(f"can't write {path}: {error.strerror or error}") from error
    return number


def _numbered(number: int, record: Record, address: Address) -> Record:
    """A record as a file has it."""
    if number:
        return {"seq": number, "synced": number - 1, **record}
    why = f"it is a copy of {address.label}, and that may have gone on"
    return {**record, "recovered": {"lost": why}}
