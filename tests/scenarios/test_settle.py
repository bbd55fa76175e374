"""A doubt from its fault to the proof, look by look: the real settler on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from batchsnap.lifecycle import State
from batchsnap.model import Reply
from batchsnap.settling.row import Row, resumed
from batchsnap.settling.settle import Settled, Settler
from tests.ledgers import request
from tests.twin import REGION, Shown, Twin, refusal
from tests.virtual import run_virtual


def doubted(twin: Twin, number: int, *, seen: bool = True) -> Row:
    """A row whose reply was lost just now; perhaps the credential does not see its disk."""
    plan = request(number, region=REGION)
    twin.note("intent", plan, snapshot_name=plan.name)
    twin.note("in_doubt", plan)
    if seen:
        twin.cloud.disks.add(plan.disk_id)
    row = resumed(twin.ledger.fold, plan, ask_first=False)
    row.doubt_since = twin.clock.monotonic()
    return row


def sent_again(twin: Twin, number: int) -> Row:
    """One that was settled absent, sent again, and accepted as snap-B."""
    row = doubted(twin, number)
    twin.note("settled", row.request, found=False)
    twin.note("intent", row.request, snapshot_name=row.request.name)
    twin.note("accepted", row.request, snapshot_id="snap-B")
    twin.cloud.snapshots["snap-B"] = Shown(row.disk_id, row.request.name)
    return row


def shown_at(twin: Twin, row: Row, snapshot_id: str, seconds: float) -> None:
    """So long from now the cloud shows a snapshot of the row's name."""
    shown = Shown(row.disk_id, row.request.name)
    twin.loop.call_later(seconds, twin.cloud.snapshots.__setitem__, snapshot_id, shown)


def answers(twin: Twin, *questions: Coroutine[Any, Any, Any], settler: Settler) -> list[Any]:
    """What each came to, while the settler asks."""

    async def main() -> list[Any]:
        running = asyncio.ensure_future(settler.run())
        found = await asyncio.gather(*questions)
        running.cancel()
        await asyncio.wait({running})
        return found

    return run_virtual(main(), twin.loop)


def settler_of(twin: Twin) -> Settler:
    return Settler(twin.account, twin.context, lambda disk_id: set())


def asked_at(twin: Twin, action: str = "DescribeSnapshots") -> list[float]:
    """When each question came, in seconds from the beginning of time; a gate's first token takes
    a second, and a question may wait for another's answer."""
    return [pytest.approx(at - 1001.0, abs=1.5) for at in twin.cloud.asked(action)]


def test_the_third_look_finds_what_came_late() -> None:
    twin = Twin()
    row, settler = doubted(twin, 1), settler_of(twin)
    shown_at(twin, row, "snap-A", 20.0)

    assert answers(twin, settler.settle(row), settler=settler) == [Settled.FOUND]
    assert asked_at(twin) == [5, 15, 30]
    assert twin.ledger.events(row.key)[2:] == ["settled", "accepted"]
    assert row.snapshot_id == "snap-A"


def test_absence_counts_at_the_last_look_of_a_disk_that_is_seen() -> None:
    twin = Twin()
    row, settler = doubted(twin, 1), settler_of(twin)

    assert answers(twin, settler.settle(row), settler=settler) == [Settled.ABSENT]
    assert asked_at(twin) == [5, 15, 30, 60]
    assert asked_at(twin, "DescribeDisks") == [60]
    assert twin.ledger.fold.standing(row.key).state is State.ABSENT


def test_silence_of_a_disk_that_is_not_seen_leaves_the_doubt() -> None:
    twin = Twin()
    row, settler = doubted(twin, 1, seen=False), settler_of(twin)

    assert answers(twin, settler.settle(row), settler=settler) == [Settled.OPEN]
    assert len(asked_at(twin, "DescribeDisks")) == 3
    assert twin.ledger.fold.standing(row.key).state is State.IN_DOUBT
    assert twin.ledger.kept[-1]["code"] == "settle.disk_unseen"


def test_a_question_that_is_denied_is_not_asked_again() -> None:
    twin = Twin()
    row, settler = doubted(twin, 1), settler_of(twin)
    twin.cloud.mishap = lambda action, body: refusal("UnauthorizedOperation")

    assert answers(twin, settler.settle(row), settler=settler) == [Settled.OPEN]
    assert asked_at(twin) == [5]


def test_a_look_that_failed_is_taken_again_after_a_pause() -> None:
    twin = Twin()
    row, settler = doubted(twin, 1), settler_of(twin)
    shown_at(twin, row, "snap-A", 2.0)
    failing = iter([True, True])

    def mishap(action: str, body: object) -> Reply | None:
        return refusal("InternalError") if next(failing, False) else None

    twin.cloud.mishap = mishap

    assert answers(twin, settler.settle(row), settler=settler) == [Settled.FOUND]
    assert asked_at(twin) == [5, 10, 20]


def test_ten_disks_share_a_question() -> None:
    twin = Twin()
    settler = settler_of(twin)
    rows = [doubted(twin, number) for number in range(25)]
    for row in rows:
        shown_at(twin, row, f"snap-{row.key}", 1.0)

    found = answers(twin, *(settler.settle(row) for row in rows), settler=settler)
    assert found == [Settled.FOUND] * 25
    asked = [body["Filters"][0]["Values"] for _, _, body in twin.cloud.calls]
    assert sorted(map(len, asked)) == [5, 10, 10]


def test_the_last_question_comes_when_nothing_can_arrive_any_more_and_tells_two() -> None:
    twin = Twin()
    row, settler = sent_again(twin, 1), settler_of(twin)
    shown_at(twin, row, "snap-A", 100.0)

    answers(twin, settler.ask_last(row), settler=settler)
    assert asked_at(twin) == [360]
    assert twin.ledger.events(row.key)[-2:] == ["doubled", "settled"]
    assert set(twin.ledger.kept[-2]["snapshot_ids"]) == {"snap-A", "snap-B"}
    assert not twin.ledger.fold.owed


def test_the_last_question_looks_for_the_rows_own_until_the_schedule_is_through() -> None:
    twin = Twin()
    row, settler = sent_again(twin, 1), settler_of(twin)
    del twin.cloud.snapshots["snap-B"]

    answers(twin, settler.ask_last(row), settler=settler)
    by_disk = [at for at, _, body in twin.cloud.calls if "Filters" in body]
    assert by_disk == [pytest.approx(1001.0 + at, abs=3.0) for at in (360, 365, 375, 390, 420)]
    assert twin.ledger.events(row.key)[-2:] == ["vanished", "settled"]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_the_rows_own_is_found_by_its_id_and_its_other_name_or_disk_told(elsewhere: bool) -> None:
    twin = Twin()
    row, settler = sent_again(twin, 1), settler_of(twin)
    disk_id = "disk-other" if elsewhere else row.disk_id
    twin.cloud.snapshots["snap-B"] = Shown(disk_id, "another")

    answers(twin, settler.ask_last(row), settler=settler)
    [said] = twin.said
    assert ("is on disk-other" if elsewhere else "was renamed to another") in said
    assert bool(twin.ledger.fold.owed) is elsewhere
