"""What a wait may call ready, and when it may call something gone: on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from batchsnap.lifecycle import State
from batchsnap.model import Reply
from batchsnap.settings import SETTLE_FOR_S, Settings
from batchsnap.settling.row import Row
from batchsnap.settling.snapshots import Snapshot
from batchsnap.settling.watch import Watcher
from tests.twin import Shown, Twin, refusal
from tests.virtual import run_virtual

ENOUGH_S = 4 * 3600.0


def watched(twin: Twin, snapshots: list[Snapshot], *, for_s: float = ENOUGH_S) -> list[Row | None]:
    """Wait until nothing is awaited, or so long; the rows that were told as ended."""
    ended: list[Row | None] = []
    watcher = Watcher(twin.account, twin.context, ended.append, intents=twin.ledger.intents)
    for snapshot in snapshots:
        watcher.add(snapshot)

    async def main() -> None:
        running = asyncio.ensure_future(watcher.run())
        with suppress(TimeoutError):
            await asyncio.wait_for(watcher.drained(), for_s)
        running.cancel()
        await asyncio.wait({running})

    run_virtual(main(), twin.loop)
    return ended


def state_of(twin: Twin, snapshot: Snapshot) -> State:
    return twin.ledger.fold.standing(snapshot.key).state


def later(twin: Twin, seconds: float, change: Callable[[], object]) -> None:
    twin.loop.call_later(seconds, change)


def test_only_what_is_normal_and_whole_is_ready() -> None:
    twin = Twin()
    ready = twin.made(1)
    others = [
        twin.made(2, state="CREATING", percent=40),
        twin.made(3, state="NORMAL", percent=99),
        twin.made(4, state="ROLLBACKING"),
        twin.made(5, state="CREATING", percent=100),
    ]
    watched(twin, [ready, *others], for_s=600.0)

    assert state_of(twin, ready) is State.READY
    assert {state_of(twin, other) for other in others} == {State.ACCEPTED}


def test_each_is_awaited_until_it_is_ready() -> None:
    twin = Twin()
    snapshots = [twin.made(number, state="CREATING", percent=0) for number in range(250)]
    for number, snapshot in enumerate(snapshots):
        shown = twin.cloud.snapshots[snapshot.snapshot_id]
        later(twin, float(number), lambda s=shown: vars(s).update(state="NORMAL", percent=100))
    ended = watched(twin, snapshots)

    assert {state_of(twin, s) for s in snapshots} == {State.READY}
    assert ended[-1] is not None
    questions = [body for _, action, body in twin.cloud.calls if action == "DescribeSnapshots"]
    assert max(len(body["SnapshotIds"]) for body in questions) == 100
    asked = sum(len(body["SnapshotIds"]) for body in questions)
    assert len(questions) < asked / 40, "what is left is asked about together"


def test_a_snapshot_of_another_disk_is_not_ready_and_is_told_once() -> None:
    """The id came in a reply that was not this row's. By name its own is found, among others."""
    twin = Twin()
    wrong, right = twin.made(1, seen_on="disk-other"), twin.made(2)
    as_wrong = twin.made(3, seen_on="disk-other")  # asked about in the same question
    name = twin.ledger.kept[0]["snapshot_name"]
    twin.cloud.snapshots |= {
        "snap-own": Shown(wrong.disk_id, name),
        "snap-nightly": Shown(wrong.disk_id, "nightly"),
        "snap-elsewhere": Shown(as_wrong.disk_id, name),
    }
    watched(twin, [wrong, right, as_wrong])

    assert twin.ledger.events(wrong.key) == ["intent", "accepted"]
    assert state_of(twin, right) is State.READY
    said, also = twin.said
    assert said.startswith(f"{wrong.snapshot_id} is on disk-other, not on {wrong.disk_id}")
    assert said.endswith(f"of the name {name}: snap-own")
    assert also.endswith("none is seen")


def test_a_namesake_from_before_the_row_is_not_its_own() -> None:
    twin = Twin()
    wrong = twin.made(1, seen_on="disk-other")
    intent = twin.ledger.kept[0]
    intent["baseline"] = ["snap-old"]
    twin.cloud.snapshots["snap-old"] = Shown(wrong.disk_id, intent["snapshot_name"])
    watched(twin, [wrong])

    (said,) = twin.said
    assert said.endswith("none is seen")


def test_what_no_list_shows_for_less_than_the_schedule_is_not_gone() -> None:
    twin = Twin()
    snapshot = twin.made(1)
    began = twin.loop.time()
    twin.cloud.hidden = lambda _: twin.loop.time() < began + SETTLE_FOR_S
    watched(twin, [snapshot])

    assert twin.ledger.events(snapshot.key) == ["intent", "accepted", "ready"]


def test_silences_count_only_in_a_row() -> None:
    """Of every two lists one is stale."""
    twin = Twin()
    snapshot = twin.made(1, state="CREATING", percent=0)
    twin.cloud.hidden = lambda _: len(twin.cloud.asked("DescribeSnapshots")) % 2 == 1
    watched(twin, [snapshot], for_s=1000.0)

    assert len(twin.cloud.asked("DescribeSnapshots")) > 20
    assert state_of(twin, snapshot) is State.ACCEPTED


def test_two_silences_are_few_however_far_apart() -> None:
    """Between them the cloud answers nothing for ten minutes."""
    twin = Twin()
    snapshot = twin.made(1)
    began = twin.loop.time()

    def mishap(action: str, _: object) -> Reply | None:
        out = began + 10 < twin.loop.time() < began + 600
        return refusal("InternalError") if out else None

    twin.cloud.mishap = mishap
    twin.cloud.hidden = lambda _: twin.loop.time() < began + 630
    watched(twin, [snapshot])

    assert twin.ledger.events(snapshot.key) == ["intent", "accepted", "ready"]


def test_what_no_list_of_the_schedule_shows_is_vanished() -> None:
    twin = Twin()
    snapshot = twin.made(1)
    twin.cloud.snapshots.clear()
    began = twin.loop.time()
    (ended,) = watched(twin, [snapshot])

    assert state_of(twin, snapshot) is State.VANISHED
    assert ended is not None
    assert ended.key == snapshot.key
    looks = twin.cloud.asked("DescribeSnapshots")
    assert len(looks) >= 4
    assert looks[-1] - looks[0] >= SETTLE_FOR_S
    assert twin.loop.time() - began < 3 * SETTLE_FOR_S


def test_another_account_is_shown_nothing_and_proves_nothing() -> None:
    twin = Twin(Settings(retry_for_s=300.0))
    snapshot = twin.made(1)
    twin.cloud.snapshots.clear()
    twin.cloud.disks.clear()
    watched(twin, [snapshot])

    assert state_of(twin, snapshot) is State.ACCEPTED
    assert "this credential sees neither" in twin.said[0]
    assert "not awaited any more" in twin.said[1]
    assert len(twin.said) == 2


def test_questions_without_an_answer_count_as_nothing() -> None:
    twin = Twin()
    snapshot = twin.made(1)
    began = twin.loop.time()

    def mishap(action: str, _: object) -> Reply | None:
        return refusal("InternalError") if twin.loop.time() < began + 600 else None

    twin.cloud.mishap = mishap
    watched(twin, [snapshot])

    assert twin.ledger.events(snapshot.key) == ["intent", "accepted", "ready"]


def test_a_list_that_counts_more_than_it_shows_proves_only_what_it_shows() -> None:
    twin = Twin()
    seen, hidden = twin.made(1), twin.made(2)
    twin.cloud.counts_hidden = True
    twin.cloud.hidden = lambda snapshot_id: snapshot_id == hidden.snapshot_id
    watched(twin, [seen, hidden], for_s=ENOUGH_S)

    assert state_of(twin, seen) is State.READY
    assert state_of(twin, hidden) is State.ACCEPTED


def test_where_asking_is_denied_nothing_is_awaited() -> None:
    twin = Twin()
    snapshots = [twin.made(number) for number in range(250)]
    twin.cloud.mishap = lambda action, _: refusal("UnauthorizedOperation")
    watched(twin, snapshots)

    assert len(twin.cloud.calls) == len(twin.said) == 1
    assert state_of(twin, snapshots[0]) is State.ACCEPTED
