"""The one door to psycopg: connections, and what their errors mean for a ledger.

Everything here blocks, and is called in a worker thread; `sever` alone may be called beside it, and
ends a statement that is not answered.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from batchsnap.errors import LedgerError, UsageError
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address, unverified, verified
from batchsnap.postgres.schema import SESSION_S

if TYPE_CHECKING:
    import psycopg

POOLED = (
    "a pooler in transaction mode lies between: another statement, another session, and locks do "
    "not hold. Connect directly, or through one in session mode"
)
_PROBE_S = 3.0
_OURS = {"keepalives_idle": "2", "keepalives_interval": "1", "keepalives_count": "3"}


_NO_RIGHT = "42501"
_COPY_LINES = 200


class Away(Exception):
    """The statement is unanswered, or was refused for now; the text says why. Whether it was
    carried out is not known."""


class Declined(Away):
    """The server answered, and will not: it is full, or read-only, or a right is missing."""


class Fenced(Exception):
    """A record of that number is there: somebody else writes to the quota."""


def psycopg_here() -> Any:
    """The library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import psycopg
    except ImportError:
        raise UsageError(
            "a ledger in PostgreSQL needs: pip install 'batchsnap[postgres]'; or give --ledger a "
            "PATH"
        ) from None
    return psycopg


class Database:
    """One connection, autocommit: each statement is a transaction, unless in `transaction`."""

    def __init__(self, address: Address, *, writer: bool = False, primary: bool = False) -> None:
        """Connect. A `writer`'s session ends soon after its last statement; it is at the primary,
        as any that must not read what a standby has so far.

        Raises:
            Away: it can't be reached.
            LedgerError: what is there can't hold a ledger.
        """
        self._library = psycopg_here()
        self.name = f"batchsnap {socket.gethostname()[:40]}:{os.getpid()}"  # it is cut at 63 bytes
        self._warnings: list[str] = []
        self._connection: psycopg.Connection[Any] = self._connect(
            address, writer=writer, primary=writer or primary
        )
        self._connection.add_notice_handler(self._heard)
        self.pid = self._connection.info.backend_pid
        self.mark = secrets.token_hex(8)  # the session's own, as long as it is one
        try:
            if writer:
                self._settle_in(address)
                self._check()
            elif primary:
                with self._within(schema.SESSION_S):
                    self.replicate()
        except BaseException:
            self.close()
            raise

    def _connect(self, address: Address, *, writer: bool, primary: bool) -> psycopg.Connection[Any]:
        told = self._library.conninfo.conninfo_to_dict(address.conninfo)
        given = {**(_OURS if writer else {}), **verified(told, os.environ)}
        self.caution = unverified(told, os.environ)
        if writer:
            given["tcp_user_timeout"] = "3000"
        if primary:
            given["target_session_attrs"] = "read-write"
            if self._library.pq.version() >= 160000:  # a deposed primary must not keep us for ever
                given["load_balance_hosts"] = "random"
        try:
            connection: psycopg.Connection[Any] = self._library.connect(
                address.conninfo,
                autocommit=True,
                connect_timeout=SESSION_S,
                application_name=self.name,
                **given,
            )
        except self._library.Error as error:
            raise Away(_said(error)) from None
        return connection

    def _settle_in(self, address: Address) -> None:
        """Set what a writer's session is, by statements, for poolers drop start-up parameters; and
        mark it, so that it knows itself again.

        Raises:
            LedgerError: it is a session by the statement.
        """
        settings = {**schema.WRITER, **schema.WRITER_TCP, schema.MARK: self.mark}
        self.run(schema.SET, list(settings), list(settings.values()))
        told, (self.pid,) = self.pid, self.one("select pg_backend_pid()")
        if self.pid == told:
            return
        probe = Database(address)  # what lies between tells a number of its own
        try:
            with suppress(Away), probe._within(_PROBE_S):  # else no session is left for it
                if probe.one(schema.MARKED, schema.MARK)[0]:
                    raise LedgerError(POOLED)
        finally:
            probe.close()

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """Statements in the block are cut off after so long."""
        late = threading.Timer(seconds, self.sever)
        late.start()
        try:
            yield
        finally:
            late.cancel()

    def replicate(self, standbys: str | None = None) -> None:
        """With standbys that a commit waits for, make one: all before it is there too then, and a
        deposed primary, which answers reads for ever, does not answer this."""
        if self.one(schema.STANDBYS)[0] if standbys is None else standbys:
            self.run("select pg_logical_emit_message(true, 'batchsnap', '')")

    def _check(self) -> None:
        """What a writer needs of the server.

        Raises:
            LedgerError: a remedy is in the text.
        """
        shown = {name: self.one(f"show {name}")[0] for name in schema.WRITER}
        if wrong := [name for name, value in schema.WRITER.items() if shown[name] != value]:
            raise LedgerError(
                f"the session has not the {wrong[0]} that was asked for, {shown[wrong[0]]}: "
                f"{POOLED}"
            )
        for name in ("fsync", "full_page_writes"):
            if self.one(f"show {name}")[0] != "on":
                raise LedgerError(
                    f"the server runs with {name}=off: after a crash it may have lost what was "
                    "told to be durable. Turn it on"
                )
        schema.need(self.one(schema.THERE)[0])
        if (version := self.one("select schema from batchsnap.version")[0]) != schema.VERSION:
            raise LedgerError(
                f"the database's schema is {version}, this batchsnap knows {schema.VERSION}: use "
                "the same version on all machines, and `batchsnap ledger init URL` with the newest"
            )

    def _heard(self, diagnostic: Any) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warnings.append(diagnostic.message_primary or "")

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement; its rows.

        Raises:
            Away, Fenced, Declined: a warning in answer to it is no answer either.
        """
        with self._meant():
            cursor = self._connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description is not None else []

    def together(self, *questions: tuple[Any, ...]) -> list[list[tuple[Any, ...]]]:
        """The rows of several queries, each with its values, for one way there and back: it may be
        long. Raises as `run` does."""
        with self._meant():
            with self._connection.pipeline():
                asked = [
                    self._connection.execute(query, values or None) for query, *values in questions
                ]
            return [cursor.fetchall() for cursor in asked]

    @contextmanager
    def _meant(self) -> Iterator[None]:
        """What the library's errors mean for statements in the block."""
        self._warnings.clear()
        library = self._library
        try:
            yield
        except library.errors.UniqueViolation as error:
            raise Fenced(_said(error)) from None
        except library.Error as error:
            raise (Away if self._connection.closed else Declined)(_said(error)) from None
        if self._warnings:
            raise Away(self._warnings[0])

    def one(self, query: str, *values: Any) -> tuple[Any, ...]:
        """The first row."""
        return self.run(query, *values)[0]

    def script(self, text: str) -> None:
        """Several statements, one transaction; notices are no matter."""
        try:
            with self._connection.transaction():
                self._connection.execute(text)
        except self._library.Error as error:
            raise Away(_said(error)) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Statements within the block are carried out together or not at all.

        Raises:
            Away: which of the two is not known.
        """
        try:
            with self._connection.transaction():
                yield
        except self._library.Error as error:
            raise Away(_said(error)) from None
        if self._warnings:
            raise Away(self._warnings[0])

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Statements within the block see one state, and change nothing."""
        self._connection.isolation_level = self._library.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        with self.transaction():
            yield

    def copy_in(self, query: str, lines: Iterator[bytes]) -> None:
        """COPY … FROM STDIN; each line as `copy_line` makes it."""
        try:
            with self._connection.cursor() as cursor, cursor.copy(query) as copy:
                while block := b"".join(islice(lines, _COPY_LINES)):
                    copy.write(block)
        except self._library.Error as error:
            raise Away(_said(error)) from None

    def sever(self) -> None:
        """End a statement that is not answered: whoever waits for it gets Away."""
        with suppress(OSError, self._library.Error):
            own = socket.socket(fileno=os.dup(self._connection.pgconn.socket))
            with own:
                own.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(self._library.Error):
            self._connection.close()


def copy_line(quota: int, number: int, document: bytes) -> bytes:
    """A line of COPY's text format: two numbers and a JSON text, whose control characters are
    escaped already."""
    return b"%d\t%d\t%b\n" % (quota, number, document.replace(b"\\", b"\\\\"))


def _said(error: BaseException) -> str:
    """One line; libpq's own text holds no password."""
    told = " ".join(str(error).split()) or type(error).__name__
    if getattr(error, "sqlstate", None) == _NO_RIGHT:
        told += ": `batchsnap ledger init URL --worker ROLE`, by the database's owner, grants it"
    return told
