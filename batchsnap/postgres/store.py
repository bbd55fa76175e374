"""A ledger in PostgreSQL by its address, for whoever reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

from batchsnap.errors import UsageError
from batchsnap.ledger.ports import Store
from batchsnap.ledger.record import Record, encode
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import psycopg_here
from batchsnap.postgres.reading import Follower, find, reader, records


@dataclass(frozen=True, slots=True)
class DatabaseStore:
    """The reading half of the Store port. Many machines write to such a ledger, quota by quota,
    so nobody opens it as one."""

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

    def open(self) -> NoReturn:
        psycopg_here()
        raise UsageError(
            f"{self.label} is in PostgreSQL, where this command does not work yet: "
            "`batchsnap ledger export` makes a file of it"
        )

    def find(self) -> NoReturn:
        self.open()

    def create(self, header: Record) -> NoReturn:
        self.open()

    def records(self) -> Iterator[Record]:
        return records(self.address)

    def follow(self) -> Follower:
        return Follower(self.address)

    def digest(self, lines: int) -> str:
        sha256 = hashlib.sha256()
        for record in islice(self.records(), lines):
            sha256.update(encode(record))
        return sha256.hexdigest()

    def beside(self, word: str) -> list[tuple[str, Store]]:
        return []

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
