"""A ledger in PostgreSQL by its address, for whoever reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

from batchsnap.errors import UsageError
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

    def follow(self) -> DatabaseFollower:
        return DatabaseFollower(self.address)

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
            return None if ledger.phase == "open" else False

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
        if not standbys or names:
            return []
        return [
            "the database has a standby that commits do not wait for (synchronous_standby_names "
            "is empty): a failover may lose the last intents"
        ]
