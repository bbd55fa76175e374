"""PgBouncer between the workers and the database: in session mode all is well, in transaction mode
locks do not hold, which is noticed before anything is made twice."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.nodes import system_user
from tests.cluster.team import Gather, ended, until
from tests.postgres import Base
from tests.process import Cli

pytestmark = pytest.mark.long

CONFIG = """
[databases]
{name} = host={host} port=5432
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 6432
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
logfile = {folder}/log
pidfile = {folder}/pid
"""


@contextmanager
def pooler(base: Base, folder: Path, mode: str, size: int = 20) -> Iterator[str]:
    """One in that mode; the address that leads through it."""
    if (program := shutil.which("pgbouncer")) is None:
        pytest.skip("no pgbouncer here")
    place = Path(f"/tmp/bs-pool-{base.name}")
    place.mkdir()
    text = CONFIG.format(
        name=base.name, host=base.server.folder, folder=place, mode=mode, size=size
    )
    (place / "ini").write_text(text)
    (place / "users").write_text('"worker" ""\n')
    user = system_user()
    if user is not None:
        shutil.chown(place, user)
    try:
        process = subprocess.Popen([program, "-q", str(place / "ini")], user=user, cwd=place)
        until(lambda: (place / ".s.PGSQL.6432").exists())
        yield f"postgresql://worker@/{base.name}/nightly?host={place}&port=6432"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(place)


def test_in_session_mode_a_run_is_as_without(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 60, 2)
    with cloud_of(tmp_path, 2) as cloud, pooler(base, tmp_path, "session") as url:
        team = gather(base, cloud)
        team.url = url
        run, helper = team.run("--max-quotas", "1"), team.work()
        for process in (run, helper):
            ended(process, most_s=120)
        team.check(60)


@pytest.mark.parametrize("size", [1, 20])
def test_in_transaction_mode_it_is_noticed_and_nothing_is_made_twice(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base, size: int
) -> None:
    write_wide_fleet(tmp_path, 120, 2)
    with cloud_of(tmp_path, 2) as cloud, pooler(base, tmp_path, "transaction", size) as url:
        team = gather(base, cloud)
        straight, team.url = team.url, url
        run, helper = team.run("--rate", "5", "--max-quotas", "1"), team.work()
        told = [process.communicate(timeout=180) for process in (run, helper)]
        codes = [process.returncode for process in (run, helper)]
        print(codes, told[0][1], told[1][1])
        assert 4 in codes
        assert any("session mode" in err for _, err in told)
        team.url = straight
        on = team.run()
        assert on.wait(120) == 0, on.communicate()
        team.check(120)
        assert team.events()["doubled"] == 0
