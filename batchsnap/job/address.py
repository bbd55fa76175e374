"""Which ledger an address means: the one place that knows what kinds there are."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl

from batchsnap.errors import UsageError
from batchsnap.ledger.file import FileStore, series_of
from batchsnap.ledger.ports import Series, Store

_SECRET = frozenset({"password", "sslpassword"})
_POSTGRES = re.compile(r"postgres(?:ql)?:/", re.IGNORECASE)


def store_at(address: str) -> Store:
    """The one ledger that an address means.

    Raises:
        UsageError: of a kind that can't be used.
    """
    if is_postgres(address):
        raise _no_postgres()
    return FileStore(Path(address))


def series_at(template: str, now: datetime) -> Series:
    """The ledgers that `--ledger` means; it may hold {date}.

    Raises:
        UsageError: of a kind that can't be used, or there can be none.
    """
    if is_postgres(template):
        raise _no_postgres()
    return series_of(template, now)


def is_postgres(address: str) -> bool:
    """Whether it is a ledger in PostgreSQL; one slash is enough, for a path eats the other.

    Raises:
        UsageError: it holds a password; the text does not repeat it.
    """
    if not _POSTGRES.match(address):
        return False
    _, _, rest = address.partition(":")
    authority, _, query = rest.lstrip("/").partition("?")
    user, found, _ = authority.rpartition("@")
    names = {name.lower() for name, _ in parse_qsl(query, keep_blank_values=True)}
    if (found and ":" in user) or names & _SECRET:
        raise UsageError(
            "the --ledger address holds a password, which logs and process lists would show: take "
            "it out, and give it by ~/.pgpass, PGPASSFILE, PGSERVICE or PGSSLCERT"
        )
    return True


def _no_postgres() -> UsageError:
    return UsageError(
        "a ledger in PostgreSQL needs: pip install 'batchsnap[postgres]'; or give --ledger a PATH"
    )
