"""How a run ended is told by who has seen all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from batchsnap.cluster import run
from batchsnap.cluster.run import conclude, known, take_up
from batchsnap.errors import Exit
from batchsnap.job.spec import JobSpec
from batchsnap.ledger.record import Record
from batchsnap.postgres import schema
from batchsnap.postgres.door import Database
from batchsnap.postgres.reading import records
from tests.postgres import Base
from tests.records import birth

LAST_QUOTA = ["update batchsnap.quota set ended = 'done' where source = 'a'"]
TAKEN_UP = [
    "insert into batchsnap.record select id, 1, "
    """'{"event":"resumed","at":"2026-11-26T10:00:00.000Z"}' from batchsnap.quota """
    "where source = ''",
]


@pytest.fixture
def ledger(base: Base) -> Base:
    """An open ledger `x` of one row in one quota, of which nothing was made so far."""
    header = {**birth(endpoint="http://127.0.0.1:9"), "manifest": {"rows": 1}}
    base.sql(
        "insert into batchsnap.ledger (name, header, phase) values ('x', %s, 'open')",
        json.dumps(header),
    )
    for name in ("", "a"):
        base.sql(
            "insert into batchsnap.quota (ledger, source, host) values (1, %s, %s)", name, name
        )
    return base


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [([], LAST_QUOTA), (LAST_QUOTA, TAKEN_UP)],
    ids=["the last quota ends", "it is taken up and ends again"],
)
def test_who_read_too_early_says_nothing_of_it(
    ledger: Base, monkeypatch: pytest.MonkeyPatch, before: list[str], meanwhile: list[str]
) -> None:
    for statement in before:
        ledger.sql(statement)

    def read(*args: Any, **options: Any) -> Iterator[Record]:
        yield from list(records(*args, **options))
        for statement in meanwhile:
            ledger.sql(statement)

    monkeypatch.setattr(run, "records", read)
    there = known(ledger.address("x"))
    assert there is not None
    assert conclude(ledger.address("x"), there).result.exit is Exit.UNFINISHED
    assert ledger.sql("select phase from batchsnap.ledger") == [("open",)]
    monkeypatch.undo()
    conclude(ledger.address("x"), there)
    assert ledger.sql("select phase from batchsnap.ledger") == [("stopped",)]


def test_who_joins_with_other_settings_hears_for_whom_they_come_too_late(ledger: Base) -> None:
    address = ledger.address("x")
    for owned in (0, 1):
        there = known(address)
        assert there is not None
        spec = JobSpec(manifest="fleet.csv", given={"rate_per_s": 3.0 + owned})
        assert take_up(address, there, spec) == owned
        same = known(address)
        assert same is not None
        assert take_up(address, same, spec) == 0
        if not owned:
            other = Database(address)
            other.run("select pg_advisory_lock(%s)", schema.pair_lock("a", "a"))
    other.close()
