"""The database is full, read-only, lost a right, or is away for too long; a lock is taken away: in
all of it nothing is sent, and what is said names the cause."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from batchsnap.postgres import schema
from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.nodes import Node, servers, system_user
from tests.cluster.team import Gather, Team, ended, figure, until
from tests.postgres import Base, new_base, own_server
from tests.process import Cloud

pytestmark = pytest.mark.long

ROWS = 160
AWAY_S = 8.0
Harm = Callable[[Base], None]


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of its own; skips where this machine lets nobody mount one."""
    place = Path(tempfile.mkdtemp(prefix="batchsnap-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0755", "none", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        place.rmdir()
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)
        place.rmdir()


def _begun(
    gather: Gather, base: Base, cloud: Cloud, *options: str
) -> tuple[Team, subprocess.Popen[str]]:
    team = gather(base, cloud)
    run = team.run("--rate", "8", *options)
    until(lambda: team.made() > 30)
    return team, run


def _quiet(team: Team) -> int:
    """How many are made, once no more are: the lease has run out."""
    time.sleep(3.5)
    made = team.made()
    time.sleep(AWAY_S)
    return team.made() - made


def _goes_on(team: Team, run: subprocess.Popen[str]) -> str:
    err = ended(run, most_s=180).err
    team.check(ROWS)
    assert team.events()["doubled"] == 0
    return err


def revoked(base: Base) -> None:
    base.sql("revoke insert on batchsnap.record from worker")


def granted(base: Base) -> None:
    base.sql("grant insert on batchsnap.record to worker")


def no_login(base: Base) -> None:
    base.sql("revoke usage on schema batchsnap from worker")


def login(base: Base) -> None:
    base.sql("grant usage on schema batchsnap to worker")


def read_only(base: Base) -> None:
    base.sql(f"alter database {base.name} set default_transaction_read_only = on")
    base.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )


def writable(base: Base) -> None:
    base.server.sql("postgres", f"alter database {base.name} reset default_transaction_read_only")


@pytest.mark.parametrize(
    ("harm", "mend", "words"),
    [
        (revoked, granted, "permission denied for table record"),
        (no_login, login, "permission denied for schema batchsnap"),
        (read_only, writable, "read-only"),
    ],
)
def test_what_is_refused_in_the_middle_is_a_stall_that_names_its_cause(
    gather: Gather, tmp_path: Path, base: Base, harm: Harm, mend: Harm, words: str
) -> None:
    write_wide_fleet(tmp_path, ROWS, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team, run = _begun(gather, base, cloud)
        harm(base)
        late = _quiet(team)
        mend(base)
        err = _goes_on(team, run)
        assert late == 0
        assert words in err
        assert "nothing is sent" in err
        assert "answers again" in err
        assert team.events()["claimed"] == 2


def test_a_full_disk_is_a_stall_that_names_its_cause(gather: Gather, tmp_path: Path) -> None:
    write_wide_fleet(tmp_path, ROWS, 2)
    with small_disk() as place, servers() as nodes, cloud_of(tmp_path, 2) as cloud:
        folder = place / "node"
        folder.mkdir()
        if (user := system_user()) is not None:
            shutil.chown(folder, user)
        more = {"min_wal_size": "32MB", "max_wal_size": "32MB", "wal_keep_size": "0"}
        node: Node = nodes.primary(folder=folder, **more)
        base = new_base(node)
        team, run = _begun(gather, base, cloud)
        _fill(place / "ballast")
        late = _quiet(team)
        (place / "ballast").unlink()
        with suppress(AssertionError):  # it may have gone down, or come up again by itself
            node.start()
        err = _goes_on(team, run)
        figure(f"disk full: {late} started meanwhile; said: {err.splitlines()[2:6]}")
        assert late == 0
        assert "nothing is sent" in err


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb") as file:
        while True:
            file.write(b"\0" * (1 << 16))
            file.flush()
            os.fsync(file.fileno())


def test_away_for_longer_than_it_is_endured_ends_with_5(gather: Gather, tmp_path: Path) -> None:
    write_wide_fleet(tmp_path, ROWS, 2)
    with own_server() as server, cloud_of(tmp_path, 2) as cloud:
        team, run = _begun(gather, new_base(server), cloud, "--retry-for", "6s")
        server.stop()
        err = ended(run, 5).err
        assert "out of reach" in err
        assert "Run the same command again" in err
        server.start()
        on = team.run("--retry-for", "60s")
        _goes_on(team, on)


def test_a_lock_that_is_taken_away_while_intents_wait_lets_nothing_leave(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    """At one start in five seconds durable intents wait for their tokens. Its session is ended, and
    somebody else has the locks before it is back."""
    write_wide_fleet(tmp_path, 6, 1)
    with cloud_of(tmp_path, 1) as cloud:
        team = gather(base, cloud)
        run = team.run("--rate", "0.2")
        until(lambda: team.made() >= 1 and team.events()["intent"] > team.events()["accepted"])
        [(source, host)] = base.sql("select source, host from batchsnap.quota where source <> ''")
        lock = schema.pair_lock(source, host)
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        with psycopg.connect(base.server.address(base.name), autocommit=True) as other:
            taking = Thread(target=other.execute, args=("select pg_advisory_lock(%s)", (lock,)))
            taking.start()
            until(lambda: base.sql(waiting) == [(1,)])
            team.end_sessions(run)
            taking.join()
            late = _quiet(team)
        err = ended(run, most_s=180).err
        team.check(6)
        assert late == 0
        assert "another process owns this quota now" in err
        assert team.events()["claimed"] == 2
        assert team.events()["doubled"] == 0
