"""A quota's part is read in slices, and told without keeping the keys of its rows."""

from __future__ import annotations

import orjson
import psycopg

from batchsnap.cluster.share import SLICE, Remaining, read_share
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import State
from batchsnap.postgres import schema
from batchsnap.postgres.reading import quotas, reader
from batchsnap.settings import Waits
from tests.postgres import Base
from tests.records import birth, moved, row

ROWS = SLICE + 7


def test_more_records_and_rows_than_a_slice_are_all_there(base: Base) -> None:
    base.sql("insert into batchsnap.ledger (name, header) values ('x', '{}')")
    base.sql("insert into batchsnap.quota (ledger, source, host) values (1, 's', 'h')")
    address = base.server.address(base.name)
    with psycopg.connect(address) as connection, connection.cursor() as cursor:
        with cursor.copy("copy batchsnap.planned (quota, ord, request) from stdin") as copy:
            for number in range(1, ROWS + 1):
                copy.write_row((1, number, schema.document(row(number)).decode()))
        with cursor.copy("copy batchsnap.record (quota, seq, line) from stdin") as copy:
            for number in range(1, SLICE + 1):
                for seq, event in ((2 * number - 1, "intent"), (2 * number, "accepted")):
                    copy.write_row((1, seq, orjson.dumps(moved(event, number)).decode()))
    with reader(base.address(), primary=True) as database, database.snapshot():
        [quota] = quotas(database, 1)
        share = read_share(database, quota, [birth()], Waits(), None)
    share.close()
    assert share.newest == 2 * SLICE
    assert share.fold.counts[State.ACCEPTED] == SLICE
    assert share.remaining.rows == share.intake.to_do.total() == 7


def test_what_is_left_is_what_is_planned_and_not_at_rest() -> None:
    """Rows that are not planned any more are nobody's to bring to an end."""
    fold = Fold()
    for record in (
        moved("intent", 1),
        moved("intent", 2),
        moved("rejected", 3),
        moved("intent", 9),
    ):
        fold.apply(record)
    remaining = Remaining(fold)
    planned = [row(number) for number in (1, 3, 4, 5)]  # 2 and 9 are gone
    assert list(remaining.plan(planned)) == planned
    left = [remaining.rows]
    for record in (
        moved("accepted", 1),
        moved("intent", 4),
        moved("accepted", 4),
        moved("accepted", 2),
        moved("in_doubt", 9),
        moved("rejected", 5),
    ):
        fold.apply(record)
        left.append(remaining.rows)
    assert left == [3, 2, 2, 1, 1, 1, 0]


def test_a_wish_to_try_rejected_rows_again_stands_until_the_run_stops_or_ends(base: Base) -> None:
    """A quota may be claimed only after others joined, who say nothing of it."""
    base.sql("insert into batchsnap.ledger (name, header) values ('x', '{}')")
    base.sql("insert into batchsnap.quota (ledger, source, host) values (1, 's', 'h')")
    wish = {"event": "resumed", "at": "2026-11-26T10:00:00.000Z", "retry_failed": True}
    join = {**wish, "retry_failed": False}
    stopped = {"event": "stopped", "at": "2026-11-26T10:00:00.000Z", "exit": 5}
    taken = {"event": "claimed", "at": "2026-11-26T10:00:00.000Z", "source": "", "host": ""}
    finished = {**stopped, "event": "finished", "exit": 1}
    for told, stands in (
        ([join], False),
        ([wish], True),
        ([wish, join], True),
        ([wish, stopped, join], False),
        ([wish, finished, join], False),
        ([wish, taken, join], False),
        ([wish, finished, join, wish], True),
    ):
        with reader(base.address(), primary=True) as database, database.snapshot():
            [quota] = quotas(database, 1)
            share = read_share(database, quota, [birth(), *told], Waits(), None)
        share.close()
        assert share.retry_failed is stands, told
