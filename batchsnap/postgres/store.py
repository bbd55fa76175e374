"""A ledger in PostgreSQL by its address, for whoever reads it; and its copy as one file.

A copy is for the archive, for `jq`, and the second leg of a plan for the day on which the database
is lost. It says what it is: a run on it asks the cloud first about every row that isn't done.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

from batchsnap.errors import LedgerError, UsageError
from batchsnap.ledger.ports import Owned, Store
from batchsnap.ledger.record import Record, encode
from batchsnap.postgres.address import Address
from batchsnap.postgres.reading import (
    DatabaseFollower,
    find,
    need,
    parts_in,
    reader,
    records,
)
from batchsnap.postgres.schema import AT_WORK
from batchsnap.postgres.whole import WholeSink


@dataclass(frozen=True, slots=True)
class DatabaseStore:
    """The Store port; a ledger that many machines work on is made by `cluster.load`, for its rows
    are loaded with it."""

    address: Address

    @property
    def label(self) -> str:
        return self.address.label

    @property
    def name(self) -> str:
        return self.address.ledger

    @property
    def own_files(self) -> list[Path]:
        return []

    def exists(self) -> bool:
        with reader(self.address) as database:
            return find(database, self.address.ledger) is not None

    def open(self) -> WholeSink:
        return WholeSink.open(self.address)

    def find(self) -> WholeSink | None:
        return self.open() if self.exists() else None

    def create(self, header: Record) -> NoReturn:
        raise UsageError("a ledger in PostgreSQL is made by `batchsnap run MANIFEST --ledger URL`")

    def records(self) -> Iterator[Record]:
        return records(self.address)

    def follow(self, *, primary: bool = False) -> DatabaseFollower:
        """`primary`: not a standby, nor a former primary, which answers reads for ever."""
        return DatabaseFollower(self.address, primary=primary)

    def digest(self, lines: int) -> str:
        sha256 = hashlib.sha256()
        for record in islice(self.records(), lines):
            sha256.update(encode(record))
        return sha256.hexdigest()

    def held(self) -> bool | None:
        """Of a run that was stopped; else anybody may take it up at any moment."""
        with reader(self.address) as database:
            ledger = need(database, self.address)
            if any(part.held for part in parts_in(database, ledger)):
                return True
            return None if ledger.phase in AT_WORK else False

    def beside(self, word: str) -> list[tuple[str, Store]]:
        return []

    def parts(self) -> list[Owned]:
        with reader(self.address) as database:
            return parts_in(database, need(database, self.address))

    def warnings(self) -> list[str]:
        with reader(self.address) as database:
            [(standbys, names)] = database.run(
                "select (select count(*) from pg_stat_replication), "
                "current_setting('synchronous_standby_names')"
            )
            found = [database.caution] if database.caution else []
        if standbys and not names:
            found.append(
                "the database has a standby that commits do not wait for "
                "(synchronous_standby_names is empty): a failover may lose the last intents"
            )
        return found


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
