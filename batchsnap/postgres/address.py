"""What an address of a ledger in PostgreSQL says.

`postgresql://[USER@]HOST[:PORT][,HOST2…]/DATABASE[/LEDGER][?PARAMETERS]`: all but LEDGER is
libpq's, and so is its environment. A password in it is refused before anything repeats the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from batchsnap.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SCHEME = re.compile(r"postgres(?:ql)?:/+", re.IGNORECASE)
_PARAMETER = re.compile(r"\w+=|$")
_SECRET = frozenset({"password", "sslpassword"})


class Address(NamedTuple):
    """Where a database is, and which of its ledgers is meant."""

    conninfo: str  # for libpq, without a password
    database: str  # its name, to be shown
    ledger: str  # "" where none is named

    def of(self, ledger: str) -> Address:
        """The same database, another ledger."""
        return self._replace(ledger=ledger)

    @property
    def label(self) -> str:
        """As a person would type it."""
        if not self.ledger:
            return self.conninfo
        place, question, query = self.conninfo.partition("?")
        return f"{place}/{self.ledger}{question}{query}"


def is_postgres(text: str) -> bool:
    """Whether it is such an address; one slash is enough, for a path eats the other."""
    return _SCHEME.match(text) is not None


def parse(text: str) -> Address:
    """The address.

    Raises:
        UsageError: it holds a password, names no database, or the ledger's name can't be one.
    """
    found = _SCHEME.match(text)
    assert found is not None
    place, question, query = text[found.end() :].partition("?")
    if found[0].count("/") > 2:  # postgresql:///DB: libpq's default host
        place = f"/{place}"
    authority, _, path = place.partition("/")
    _refuse_password(place if _PARAMETER.match(query) else place + question + query, query)
    database, _, ledger = path.partition("/")
    if not database:
        raise UsageError(
            f"{text} names no database: write postgresql://HOST/DATABASE/LEDGER, or "
            "postgresql:///DATABASE/LEDGER for libpq's default host"
        )
    if ledger and not NAME.fullmatch(ledger):
        raise UsageError(
            f"{ledger!r} can't be a ledger's name: letters, digits, dots, _ and -, at most 64"
        )
    return Address(f"postgresql://{authority}/{database}{question}{query}", database, ledger)


def _refuse_password(place: str, query: str) -> None:
    """One with a slash or a question mark in it, too, which cuts the address elsewhere."""
    user, found, _ = place.rpartition("@")
    names = {unquote(name).lower() for name, _ in parse_qsl(query, keep_blank_values=True)}
    if (found and ":" in user) or names & _SECRET:
        raise UsageError(
            "the --ledger address holds a password, which logs and process lists would show: take "
            "it out, and give it by ~/.pgpass, PGPASSFILE, PGSERVICE or PGSSLCERT"
        )


def given(text: str) -> Address:
    """The address that a command is given.

    Raises:
        UsageError: it is none, or can't be used.
    """
    if not is_postgres(text):
        raise UsageError(f"{text} is no postgresql://HOST/DATABASE[/LEDGER]")
    return parse(text)


def need_ledger(address: Address) -> Address:
    """It, naming a ledger.

    Raises:
        UsageError: it names none.
    """
    if not address.ledger:
        raise UsageError(f"{address.conninfo} names no ledger: write …/DATABASE/LEDGER")
    return address


def dated(text: str, now: datetime | None = None) -> str:
    """With {date} filled in, the UTC day."""
    return text.replace("{date}", f"{now or datetime.now(UTC):%Y%m%d}")


def verified(told: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """sslmode=verify-full where nobody chose another and the way is longer than this machine;
    `told` is what the address says, by libpq's names."""
    if "sslmode" in told or "service" in told or {"PGSSLMODE", "PGSERVICE"} & environment.keys():
        return {}
    return {} if _all_near(told, environment) else {"sslmode": "verify-full"}


def unverified(told: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """A word about an sslmode that somebody chose and by which nobody knows whose server answers,
    or ""; `told` as for `verified`. What a service's file says is not known here."""
    mode = str(told.get("sslmode") or environment.get("PGSSLMODE") or "verify-full")
    if mode == "verify-full" or _all_near(told, environment):
        return ""
    return (
        f"sslmode={mode} does not prove whose server the ledger's database is: verify-full, the "
        "default here, does"
    )


def _all_near(told: Mapping[str, Any], environment: Mapping[str, str]) -> bool:
    """Whether the way ends on this machine."""
    hosts = str(told.get("host") or told.get("hostaddr") or environment.get("PGHOST") or "")
    return all(_is_near(host) for host in hosts.split(","))


def _is_near(host: str) -> bool:
    if not host or host[0] in "/@" or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
