"""The tables: made, made again, brought from one version to the next."""

from __future__ import annotations

import pytest

from batchsnap.errors import LedgerError
from batchsnap.postgres.address import parse
from batchsnap.postgres.door import Database
from batchsnap.postgres.setup import init
from tests.postgres import Base
from tests.process import Cli

FORMER = """
update batchsnap.version set schema = 1;
alter table batchsnap.ledger drop column wait;
alter table batchsnap.ledger drop constraint ledger_phase_check;
alter table batchsnap.ledger add constraint ledger_phase_check
  check (phase in ('open', 'stopped', 'finished'));
"""


def test_tables_of_the_former_version_are_brought_to_this_one(base: Base) -> None:
    former = base.sql("select schema from batchsnap.version")
    for statement in filter(str.strip, FORMER.split(";")):
        base.sql(statement)
    with pytest.raises(LedgerError, match="ledger init"):
        Database(base.address(), writer=True)

    base.sql("insert into batchsnap.ledger (name, header) values ('x', '{}')")
    again(base)
    again(base)  # harmless
    assert base.sql("select schema from batchsnap.version") == former
    base.sql("update batchsnap.ledger set phase = 'canary', wait = true")
    Database(base.address(), writer=True).close()


def test_tables_that_an_older_worker_works_on_stay_as_they_are(base: Base) -> None:
    base.sql("update batchsnap.version set schema = 1")
    worker = Database(base.address())
    worker.run("select pg_advisory_lock(7)")
    with pytest.raises(LedgerError, match="batchsnap stop"):
        again(base)
    worker.close()


def again(base: Base) -> None:
    init(parse(base.url(user="postgres")), workers=["worker"], readers=["reader"])


def test_what_is_missing_is_said_with_its_remedy(cli: Cli, base: Base) -> None:
    empty = Base(base.server, base.server.new_database())
    told = {
        ("list", empty.url()): "the database holds no ledgers yet: batchsnap ledger init URL",
        ("init", base.url(), "--worker", "nobody-here"): "can't prepare",
        ("init", empty.url()): "permission denied for database",
        ("list", base.url(user="stranger")): "--worker ROLE`, by the database's owner, grants it",
    }
    base.sql("create role stranger login")
    try:
        for command, said in told.items():
            refused = cli.run("ledger", *command)
            assert refused.code == 4, command
            assert said in refused.err
    finally:
        base.sql("drop role stranger")
