"""Snapshots that are waited for or rolled back are kept small, each once, in their order."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from batchsnap.ledger.record import Record, row_record
from batchsnap.lifecycle import State
from batchsnap.settling.snapshots import Pile, Snapshot, accepted_in, piled, snapshot_of
from batchsnap.settling.watch import Watcher
from tests.ledgers import request
from tests.twin import REGION, Twin

ROWS = 20_000
A_ROW = 84  # bytes beside the fold's 116: together no more than 200


def accepted(number: int) -> Record:
    row = request(number, region=REGION)
    return row_record("accepted", row, 1, "at", snapshot_id=f"snap-{number:08x}")


def all_accepted(rows: int) -> Iterator[Record]:
    return (accepted(number) for number in range(rows))


def missed(pile: Pile, now: float) -> None:
    """A round in which none was shown: what is kept of each then is the most there can be."""
    for some in pile.round():
        for snapshot in some:
            pile.add(snapshot._replace(looks=snapshot.looks + 1, missed_at=now))


def of_rollback(rows: int) -> object:
    states = {State.ACCEPTED}
    piles = piled(accepted_in(all_accepted(rows), lambda key: State.ACCEPTED, states))
    missed(piles["", REGION], 12345.67)
    return piles


def of_watcher(rows: int) -> object:
    twin = Twin()
    watcher = Watcher(twin.account, twin.context, lambda row: None, intents=twin.ledger.intents)
    for record in all_accepted(rows):
        watcher.add(snapshot_of(record))
    twin.loop.close()
    return watcher


@pytest.mark.parametrize("kept", [of_rollback, of_watcher])
def test_a_row_takes_few_bytes(kept: Callable[[int], object]) -> None:
    tracemalloc.start()
    try:
        held = kept(ROWS)
        gc.collect()  # Python's free lists are of no row
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held
    assert size / ROWS < A_ROW


def test_a_round_gives_each_once_and_what_is_added_meanwhile_to_the_next() -> None:
    pile = Pile("", REGION)
    snapshots = [snapshot_of(record) for record in all_accepted(250)]
    for snapshot in snapshots[:230]:
        pile.add(snapshot)
    taken: list[Snapshot] = []
    for some in pile.round():
        taken += some
        for snapshot in some[::2]:
            pile.add(snapshot)
    for snapshot in snapshots[230:]:
        pile.add(snapshot)

    assert taken == snapshots[:230]
    assert len(pile) == 115 + 20
    again = [snapshot for some in pile.round() for snapshot in some]
    assert again == snapshots[:230:2] + snapshots[230:]
    assert len(pile) == 0


def test_what_a_round_does_not_come_to_stays() -> None:
    pile = Pile("", REGION)
    snapshots = [snapshot_of(record) for record in all_accepted(250)]
    for snapshot in snapshots:
        pile.add(snapshot)
    for _ in pile.round():
        break

    assert len(pile) == 150
    assert pile.first(2) == snapshots[100:102]
    assert pile.first(1000) == snapshots[100:]
