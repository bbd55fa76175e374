"""Which ledger an address means: the one place that knows what kinds there are."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from batchsnap.errors import UsageError
from batchsnap.ledger.file import FileStore, series_of
from batchsnap.ledger.ports import Series, Store
from batchsnap.postgres.address import dated, is_postgres, need_ledger, parse
from batchsnap.postgres.door import psycopg_here
from batchsnap.postgres.store import DatabaseStore


def store_at(address: str) -> Store:
    """The one ledger that an address means.

    Raises:
        UsageError: of a kind that can't be used.
    """
    if is_postgres(address):
        return DatabaseStore(need_ledger(parse(address)))
    return FileStore(Path(address))


def series_at(template: str, now: datetime) -> Series:
    """The ledgers that `--ledger` means; it may hold {date}.

    Raises:
        UsageError: of a kind that can't be used, or there can be none.
    """
    if is_postgres(template):
        parse(dated(template, now))
        psycopg_here()
        raise UsageError(
            "a ledger in PostgreSQL is for run, work, stop, status and report; give this command "
            "a file, such as `batchsnap ledger export` writes"
        )
    return series_of(template, now)
