"""An address of a ledger that is no file: said plainly, and no password is repeated."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.process import Cli, write_fleet
from tests.programs import python

ADDRESS = "postgresql://ops@db.example/snapshots/night"
OTHERS = ("status", "report", "settle", "wait", "rollback")
# The command lines in its argument, each in a fork; after what they say, their exit codes.
ONE_BY_ONE = """
import json, os, sys
from batchsnap.cli.main import main
for words in json.loads(sys.argv.pop()):
    if (pid := os.fork()) == 0:
        main(words)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("exit", code, file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize("scheme", ["postgresql://", "postgres://", "POSTGRESQL:/"])
def test_an_address_in_postgresql_needs_the_extra(tmp_path: Path, scheme: str) -> None:
    write_fleet(tmp_path, 1)
    (tmp_path / "psycopg.py").write_text("raise ImportError('not installed')")
    address = ADDRESS.replace("postgresql://", scheme)
    commands = [
        *(("run", "fleet.csv", "--yes", "--ledger", address),),
        *(("plan", "fleet.csv", "--ledger", address),),
        *((name, address) for name in OTHERS),
        ("work", address),
        ("stop", address),
        ("ledger", "list", address),
    ]
    done = python(tmp_path, ONE_BY_ONE, json.dumps(commands))
    *told, rest = re.split(r"exit (\d+)\n", done.err)
    assert (done.code, rest, len(told)) == (0, "", 2 * len(commands))
    for command, err, code in zip(commands, told[::2], told[1::2], strict=True):
        assert code == "2", (command, err)
        assert "pip install 'batchsnap[postgres]'" in err, command
        assert "no folder" not in err
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
