"""What a feeder takes up, in which order and how much of it: the real one on virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

from batchsnap.engine.feeder import Feeder
from batchsnap.engine.halts import Halts
from batchsnap.engine.queue import Queue
from batchsnap.ledger.gap import Gap
from batchsnap.lifecycle import State
from batchsnap.model import PlannedRequest
from batchsnap.retry import Do
from batchsnap.settling.row import Row, Stage
from tests.ledgers import request
from tests.twin import REGION, Twin
from tests.virtual import run_virtual


class Fed:
    """A queue and its feeder; what was begun stays where it is until a test moves it."""

    def __init__(self, *, ahead: int = 20, live: int = 1000) -> None:
        self.twin = Twin()
        self.queue = Queue("", REGION, self.twin.context.waits)
        self.begun: list[tuple[Row, Do]] = []
        self.feeder = Feeder(
            self.twin.account,
            self.twin.context,
            Halts(self.twin.said.append),
            ahead=ahead,
            live=live,
            ask_first=Gap.NONE,
            begin=self._begin,
            changed=lambda: None,
        )

    def _begin(self, queue: Queue, row: Row, do: Do) -> None:
        queue.move(row, Stage.ASKED if do is Do.SETTLE else Stage.OWED)
        self.begun.append((row, do))

    def run(self, *, for_s: float = 10.0, then: Any = None) -> None:
        """Feed for so long; `then` is called in the middle of it."""
        self.queue.seal()

        async def main() -> None:
            running = asyncio.ensure_future(self.feeder.feed(self.queue))
            await asyncio.sleep(for_s / 2)
            if then is not None:
                then()
            await asyncio.sleep(for_s / 2)
            if running.done():
                running.result()
            running.cancel()
            await asyncio.wait({running})
            self.queue.close()

        run_virtual(main(), self.twin.loop)

    def picked(self) -> list[str]:
        """What may be sent now, in turn."""
        rows = iter(lambda: self.queue.pick(self.twin.clock.monotonic()), None)
        return [row.key for row in rows if row is not None]


def plan(number: int, **values: Any) -> PlannedRequest:
    return request(number, region=REGION, **values)


def keys(*numbers: int) -> list[str]:
    return [plan(number).key for number in numbers]


def test_doubts_of_an_earlier_life_are_taken_up_before_any_other_row() -> None:
    fed = Fed()
    for number in (1, 2):
        fed.twin.note("intent", plan(number), snapshot_name=plan(number).name)
        fed.queue.doubts.add(plan(number))
    fed.twin.note("in_doubt", plan(2))
    for number in (3, 4):
        fed.queue.worklist.add(plan(number))
    fed.run()

    assert [(row.key, do) for row, do in fed.begun] == [(key, Do.SETTLE) for key in keys(1, 2)]
    assert fed.twin.ledger.kept[-1]["code"] == "ledger.no_outcome"
    assert fed.twin.ledger.fold.counts[State.IN_DOUBT] == 2
    assert fed.picked() == keys(3, 4)
    assert fed.queue.exhausted


def test_rows_that_only_await_their_last_question_hold_up_no_other() -> None:
    fed = Fed(live=10)
    for number in range(30):
        fed.queue.owed.add(plan(number))
    fed.queue.worklist.add(plan(99))
    fed.run(then=lambda: [fed.queue.move(row, None) for row, _ in fed.begun[:15]])

    assert {do for _, do in fed.begun} == {Do.DONE}
    assert 20 <= len(fed.begun) < 30
    assert fed.picked() == keys(99)


def test_no_more_rows_are_taken_up_than_may_live_at_once() -> None:
    fed = Fed(live=50)
    for number in range(200):
        fed.twin.note("intent", plan(number), snapshot_name=plan(number).name)
        fed.queue.doubts.add(plan(number))
    fed.queue.worklist.add(plan(999))
    counts: list[int] = []

    def settled() -> None:
        counts.append(len(fed.begun))
        for row, _ in fed.begun[:20]:
            fed.queue.move(row, None)

    fed.run(then=settled)

    assert counts == [50]
    assert len(fed.begun) == 70
    assert not fed.picked()


def test_rows_are_read_a_little_ahead() -> None:
    fed = Fed(ahead=20)
    for number in range(500):
        fed.queue.worklist.add(plan(number))
    fed.run()

    ready = len(fed.picked())
    assert 20 <= ready < 40
    assert not fed.queue.exhausted


def test_a_row_that_was_deferred_waits_for_its_time() -> None:
    fed = Fed()
    late = "2027-01-15T08:18:00.000Z"  # the twin's day begins at 08:16:40
    fed.twin.note("deferred", plan(1), not_before=late)
    for number in (1, 2):
        fed.queue.worklist.add(plan(number))
    fed.run()

    assert fed.picked() == keys(2)
    fed.twin.loop.stall(90.0)
    assert fed.picked() == keys(1)


def test_a_row_whose_deadline_is_near_is_refused_and_one_in_doubt_is_settled_first() -> None:
    fed = Fed()
    past = "2027-01-15T09:00:00+00:00"
    fed.twin.note("in_doubt", plan(2))
    fed.twin.note("settled", plan(2), found=False)
    for number in (1, 2):
        fed.queue.worklist.add(plan(number, deadline=past))
    fed.queue.worklist.add(plan(3))
    fed.run()

    assert fed.twin.ledger.events(plan(1).key) == ["rejected"]
    [(row, do)] = fed.begun
    assert (row.key, do, row.rejection is not None) == (plan(2).key, Do.SETTLE, True)
    assert fed.picked() == keys(3)
