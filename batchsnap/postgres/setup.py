"""Schema and grants: once a database, by its owner; again is harmless."""

from __future__ import annotations

import re
from contextlib import closing

from batchsnap.errors import LedgerError, UsageError
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database

_ROLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$.-]{0,62}")


def init(address: Address, *, workers: list[str], readers: list[str]) -> None:
    """Make the tables and let these roles work on them, or read them.

    Raises:
        LedgerError: the database refuses, or its schema is a newer batchsnap's.
        UsageError: what can't be a role's name.
    """
    for role in (*workers, *readers):
        if not _ROLE.fullmatch(role):
            raise UsageError(f"{role!r} can't be a role's name")
    try:
        with closing(Database(address)) as database:
            upgrade = schema.UPGRADE if _found(database) < schema.VERSION else ""
            grants = [schema.GRANTS_WORKER.format(role=f'"{role}"') for role in workers]
            grants += [schema.GRANTS_READER.format(role=f'"{role}"') for role in readers]
            database.script("".join((schema.TABLES, upgrade, *grants)))
    except Away as away:
        raise LedgerError(f"can't prepare {address.database}: {away}") from None


def _found(database: Database) -> int:
    """The version of its schema; ours where there is none yet.

    Raises:
        LedgerError: it is a newer one, or an older one that somebody works on.
    """
    if database.one("select to_regclass('batchsnap.version')")[0] is None:
        return schema.VERSION
    found: int = database.one("select schema from batchsnap.version")[0]
    if found > schema.VERSION:
        raise LedgerError(
            f"the database's schema is {found}, of a newer batchsnap: this one knows "
            f"{schema.VERSION}"
        )
    if found < schema.VERSION and database.run(schema.HELD):
        raise LedgerError(
            f"workers of an older batchsnap are at work: `batchsnap stop` their runs, then bring "
            f"the schema from {found} to {schema.VERSION}"
        )
    return found
