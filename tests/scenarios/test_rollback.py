"""What a rollback may delete, and when it may say that something is gone: on virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from batchsnap.lifecycle import State
from batchsnap.model import Fault, Reply
from batchsnap.settings import SETTLE_FOR_S, Settings
from batchsnap.settling.rollback import Rollback
from batchsnap.settling.snapshots import Pile, Snapshot
from tests.twin import LOST, REGION, Twin, refusal
from tests.virtual import run_virtual

PATIENCE_S = 120.0  # a doubt is over long before


def rolled(twin: Twin, snapshots: list[Snapshot]) -> dict[str, int]:
    """Roll back; what was left, by reason."""
    pile = Pile("", REGION)
    for snapshot in snapshots:
        pile.add(snapshot)
    rollback = Rollback(twin.account, twin.context)
    run_virtual(rollback.run(pile), twin.loop)
    return dict(rollback.left)


def first_calls(*fates: Fault | Reply | None) -> Any:
    """The first deletions meet these fates; None is none."""
    left = list(fates)

    def mishap(action: str, body: dict[str, Any]) -> Fault | Reply | None:
        return left.pop(0) if action == "DeleteSnapshots" and left else None

    return mishap


def stale(twin: Twin, seconds: float) -> Any:
    """Lists that lack everything for so long after the first deletion."""

    def hidden(snapshot_id: str) -> bool:
        deletions = twin.cloud.asked("DeleteSnapshots")
        return bool(deletions) and twin.loop.time() < deletions[0] + seconds

    return hidden


def state_of(twin: Twin, snapshot: Snapshot) -> State:
    return twin.ledger.fold.standing(snapshot.key).state


def test_what_the_ledger_made_is_deleted() -> None:
    twin = Twin()
    snapshots = [twin.made(number) for number in range(250)]

    assert rolled(twin, snapshots) == {}
    assert twin.cloud.snapshots == {}
    assert {state_of(twin, s) for s in snapshots} == {State.DELETED}


def test_nothing_on_another_disk_is_deleted() -> None:
    twin = Twin()
    ours, theirs = twin.made(1), twin.made(2, seen_on="disk-theirs")

    assert rolled(twin, [ours, theirs]) == {"on another disk than the ledger says": 1}
    assert list(twin.cloud.snapshots) == [theirs.snapshot_id]
    assert state_of(twin, theirs) is State.ACCEPTED
    assert f"{theirs.snapshot_id} of {theirs.disk_id} stays" in twin.said[0]


def test_what_is_not_normal_is_left() -> None:
    twin = Twin()
    snapshot = twin.made(1, state="CREATING", percent=40)

    assert rolled(twin, [snapshot]) == {"CREATING, only NORMAL ones can be deleted": 1}
    assert list(twin.cloud.snapshots) == [snapshot.snapshot_id]


@pytest.mark.parametrize("stale_s", [1.0, 20.0, SETTLE_FOR_S - 1])
def test_a_lost_deletion_and_a_stale_list_delete_nothing(stale_s: float) -> None:
    """Seen again after it was silent, it is deleted again; silence alone never calls it so."""
    twin = Twin()
    snapshots = [twin.made(number) for number in range(5)]
    twin.cloud.mishap = first_calls(LOST)
    twin.cloud.hidden = stale(twin, stale_s)

    assert rolled(twin, snapshots) == {}
    assert twin.cloud.snapshots == {}
    assert len(twin.cloud.asked("DeleteSnapshots")) == 2


def test_a_silent_deletion_is_believed_at_the_end_of_the_schedule() -> None:
    twin = Twin()
    snapshot = twin.made(1)
    executed = first_calls(LOST)

    def mishap(action: str, body: dict[str, Any]) -> Fault | Reply | None:
        fault: Fault | Reply | None = executed(action, body)
        if fault is not None:
            twin.cloud.snapshots.clear()
        return fault

    twin.cloud.mishap = mishap
    began = twin.loop.time()

    assert rolled(twin, [snapshot]) == {}
    assert state_of(twin, snapshot) is State.DELETED
    looks = [at - began for at in twin.cloud.asked("DescribeSnapshots")][1:]
    assert len(looks) >= 4
    assert SETTLE_FOR_S <= looks[-1] - looks[0] < PATIENCE_S


@pytest.mark.parametrize("there", [True, False])
def test_what_a_killed_process_was_deleting_is_a_doubt_like_any_other(there: bool) -> None:
    """Killed between the durable intent and the call; the next process's first lists are stale."""
    twin = Twin()
    snapshot = twin.made(1)
    twin.ledger.append({**twin.ledger.kept[-1], "event": "deleting"})
    began = twin.loop.time()
    twin.cloud.hidden = lambda _: twin.loop.time() < began + SETTLE_FOR_S - 1
    if not there:
        twin.cloud.snapshots.clear()

    assert rolled(twin, [snapshot]) == {}
    assert twin.cloud.snapshots == {}
    assert state_of(twin, snapshot) is State.DELETED
    assert twin.ledger.events(snapshot.key).count("deleting") == 1 + there


def test_what_was_never_seen_is_vanished_not_deleted() -> None:
    twin = Twin()
    snapshot = twin.made(1)
    twin.cloud.snapshots.clear()
    began = twin.loop.time()

    assert rolled(twin, [snapshot]) == {}
    assert state_of(twin, snapshot) is State.VANISHED
    assert twin.loop.time() - began >= SETTLE_FOR_S


def test_a_credential_that_does_not_see_the_disk_proves_nothing() -> None:
    twin = Twin()
    snapshot = twin.made(1)
    twin.ledger.append({**twin.ledger.kept[-1], "event": "deleting"})
    twin.cloud.snapshots.clear()
    twin.cloud.disks.clear()

    (reason,) = rolled(twin, [snapshot])

    assert "this credential sees neither" in reason
    assert state_of(twin, snapshot) is State.DELETING


def test_a_list_that_counts_more_than_it_shows_proves_only_what_it_shows() -> None:
    twin = Twin()
    seen, hidden = twin.made(1), twin.made(2)
    twin.cloud.counts_hidden = True
    twin.cloud.hidden = lambda snapshot_id: snapshot_id == hidden.snapshot_id

    assert rolled(twin, [seen, hidden]) == {"not known yet (reply.short): run rollback again": 1}
    assert state_of(twin, seen) is State.DELETED
    assert state_of(twin, hidden) is State.ACCEPTED


def test_a_refusal_is_told_of_the_one_it_is_for() -> None:
    twin = Twin()
    snapshots = [twin.made(number) for number in range(5)]
    locked = snapshots[3].snapshot_id

    def mishap(action: str, body: dict[str, Any]) -> Reply | None:
        refused = action == "DeleteSnapshots" and locked in body["SnapshotIds"]
        return refusal("UnsupportedOperation.SnapshotHasShared") if refused else None

    twin.cloud.mishap = mishap

    assert rolled(twin, snapshots) == {"UnsupportedOperation.SnapshotHasShared": 1}
    assert list(twin.cloud.snapshots) == [locked]
    assert state_of(twin, snapshots[3]) is State.ACCEPTED
    (said,) = twin.said
    assert locked in said
    assert "UnsupportedOperation.SnapshotHasShared" in said


def test_not_found_is_a_silence_not_a_refusal() -> None:
    """Shown by a stale list, refused as unknown: deleted once the schedule has told so."""
    twin = Twin()
    snapshot = twin.made(1)
    twin.cloud.mishap = first_calls(refusal("InvalidSnapshotId.NotFound"))
    twin.cloud.hidden = stale(twin, 10.0)

    assert rolled(twin, [snapshot]) == {}
    assert twin.cloud.snapshots == {}


def test_a_cloud_that_does_not_delete_is_tried_for_as_long_as_the_user_says() -> None:
    twin = Twin(Settings(retry_for_s=300.0))
    snapshot = twin.made(1)
    twin.cloud.mishap = lambda action, _: LOST if action == "DeleteSnapshots" else None
    began = twin.loop.time()

    (reason,) = rolled(twin, [snapshot])

    assert reason == "not known yet (fault.reset): run rollback again"
    assert 300.0 < twin.loop.time() - began < 300.0 + 2 * SETTLE_FOR_S
    assert state_of(twin, snapshot) is State.DELETING


def test_who_may_not_ask_asks_once() -> None:
    twin = Twin()
    snapshots = [twin.made(number) for number in range(350)]
    twin.cloud.mishap = lambda action, _: refusal("UnauthorizedOperation")

    assert rolled(twin, snapshots) == {"denied: UnauthorizedOperation": 350}
    assert len(twin.cloud.calls) == 1


def test_a_second_snapshot_is_told_though_a_list_lacks_it() -> None:
    twin = Twin()
    snapshot = twin.made(1)
    pile = Pile("", REGION)
    pile.add(snapshot)
    began = twin.loop.time()
    twin.cloud.hidden = lambda _: twin.loop.time() < began + 10
    rollback = Rollback(twin.account, twin.context)
    run_virtual(rollback.tell_seconds(pile), twin.loop)

    (reason,) = rollback.left
    assert f"{snapshot.snapshot_id}, a second snapshot of {snapshot.disk_id}" in reason
    assert list(twin.cloud.snapshots) == [snapshot.snapshot_id]
