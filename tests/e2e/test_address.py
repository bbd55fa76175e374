"""An address of a ledger that is no file: said plainly, and no password is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import Cli, write_fleet

ADDRESS = "postgresql://ops@db.example/snapshots/night"
OTHERS = ("status", "report", "settle", "wait", "rollback")


@pytest.mark.parametrize("scheme", ["postgresql://", "postgres://", "POSTGRESQL:/"])
def test_an_address_in_postgresql_needs_the_extra(cli: Cli, tmp_path: Path, scheme: str) -> None:
    write_fleet(tmp_path, 1)
    (tmp_path / "psycopg.py").write_text("raise ImportError('not installed')")
    address = ADDRESS.replace("postgresql://", scheme)
    for command in (
        *(("run", "fleet.csv", "--yes", "--ledger", address),),
        *(("plan", "fleet.csv", "--ledger", address),),
        *((name, address) for name in OTHERS),
        ("work", address),
        ("stop", address),
        ("ledger", "list", address),
    ):
        refused = cli.run(*command)
        assert refused.code == 2, command
        assert "pip install 'batchsnap[postgres]'" in refused.err
        assert "no folder" not in refused.err
    assert [path.name for path in tmp_path.glob("*") if "post" in path.name.lower()] == []


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ops:hunter2@db/snapshots/night",
        "postgres://:hunter2@db/snapshots/night.{dat}",
        "postgresql://db/snapshots/night?sslmode=require&password=hunter2",
        "postgresql:///night?host=/run&sslpassword=hunter2",
        "postgresql:/ops:hunter2@db/snapshots/night",
    ],
)
def test_a_password_is_refused_and_not_repeated(cli: Cli, tmp_path: Path, address: str) -> None:
    write_fleet(tmp_path, 1)
    for command in (
        ("run", "fleet.csv", "--yes", "--ledger", address),
        ("plan", "fleet.csv", "--ledger", address),
        ("status", address),
        ("settle", address),
        ("work", address),
        ("stop", address),
        ("ledger", "init", address),
    ):
        refused = cli.run(*command)
        assert refused.code == 2, command
        assert "PGPASSFILE" in refused.err
        assert "hunter2" not in refused.out + refused.err
