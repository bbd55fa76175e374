"""What every worker asks twice a second reads few pages, whatever else the database holds."""

from __future__ import annotations

from typing import Any

import pytest

from batchsnap.postgres import reading, schema
from tests.postgres import Base

QUOTAS = 20
OTHERS = 20_000
PAGES = 8 * QUOTAS  # an index's root, leaf and heap page for each, and to spare


@pytest.fixture
def ledgers(base: Base) -> tuple[int, int]:
    """A ledger that nobody has begun, and one of the same database with many records."""
    make = "insert into batchsnap.ledger (name, header) values (%s, '{}') returning id"
    fresh, old = (base.sql(make, name)[0][0] for name in ("fresh", "old"))
    fill = "insert into batchsnap.quota (ledger, source, host) select %s, 's' || n, 'h' from "
    base.sql(fill + "generate_series(0, %s) n", old, 9)
    base.sql(fill + "generate_series(1, %s) n", fresh, QUOTAS)
    line = '{"event":"accepted","at":"2026-11-26T00:00:00.000Z"}' + " " * 200
    base.sql(
        "insert into batchsnap.record select 1 + n %% 10, 1 + n / 10, %s "
        "from generate_series(0, %s) n",
        line,
        OTHERS - 1,
    )
    return fresh, old


def pages_of(base: Base, query: str, *values: Any) -> int:
    """How many pages a statement reads."""
    base.sql(f"explain (analyze, buffers) {query}", *values)  # the first fills the caches
    [(plan,)] = base.sql(f"explain (analyze, buffers, format json) {query}", *values)
    root = plan[0]["Plan"]
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_a_heartbeat_reads_few_pages(
    base: Base, ledgers: tuple[int, int], analyzed: bool, which: int
) -> None:
    if analyzed:
        base.sql("vacuum analyze batchsnap.record")
        base.sql("analyze batchsnap.quota")
    ledger = ledgers[which]
    ids = [row[0] for row in base.sql("select id from batchsnap.quota where ledger = %s", ledger)]
    asked = {
        "facts": (schema.FACTS, ledger),
        "quotas": (reading.QUOTAS, ledger),
        "newest": (schema.NEWEST, ids),
    }
    pages = {name: pages_of(base, *query) for name, query in asked.items()}
    assert max(pages.values()) < PAGES, pages
