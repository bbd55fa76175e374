"""What the snapshots that the cloud shows on a disk say of a row: which are its own, and whether
one is so young that --unless-newer-than makes no other.

A row's own are known by its disk, the name that its intent recorded, and the ids that were there
before it or are another row's. Time is no evidence there, for CreateTime has no zone; `youngest` is
the only place where it counts: a wrong reading makes one snapshot too many, or leaves one for the
next night.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone

from batchsnap.cloud.pages import SnapshotFact
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import DONE
from batchsnap.settings import FRESH_MARGIN_S
from batchsnap.settling.row import Row

GivenOn = Callable[[str], set[str]]
"""Snapshot ids on a disk that rows of this ledger were given."""
CREATE_TIME_ZONE = timezone(timedelta(hours=8))
"""Shanghai, as recorded replies of the cloud have it (there is no summer time). Were it UTC in
truth, every snapshot would seem eight hours older than it is, and more would be made."""
_COUNTS = frozenset({"NORMAL", "CREATING"})
_FORM = "%Y-%m-%d %H:%M:%S"


def matches(row: Row, facts: Sequence[SnapshotFact], fold: Fold, claimed: GivenOn) -> list[str]:
    """Ids of the snapshots, among the facts, that are this row's."""
    before = set(row.baseline or ())
    ids = [
        fact.snapshot_id
        for fact in facts
        if fact.disk_id == row.disk_id
        and fact.name == row.request.name
        and fact.snapshot_id not in before
    ]
    if ids and row.request.named and row.disk_id in fold.backup_disks:
        mine = fold.latest.get(row.key, {}).get("snapshot_id")
        others = claimed(row.disk_id) - {mine}
        ids = [i for i in ids if i not in others]
    return ids


def own(row: Row, fold: Fold, claimed: GivenOn) -> str:
    """The snapshot that the row was given, "" where it has none or which is unknown."""
    latest = fold.latest.get(row.key, {})
    known = row.snapshot_id or latest.get("snapshot_id", "")
    if known or fold.standing(row.key).state not in DONE:
        return known
    # Its latest record tells of something else: of a second snapshot, of a halt.
    on_disk = claimed(row.disk_id)
    return on_disk.pop() if len(on_disk) == 1 else ""


def second(row: Row, ids: list[str], fold: Fold, claimed: GivenOn) -> list[str]:
    """All snapshots of a row that has its own, where one of `ids`, its matches, is not that: its
    own may be too fresh to be shown, or gone."""
    mine = own(row, fold, claimed)
    if ({mine} if mine else claimed(row.disk_id)).issuperset(ids):
        return []
    return [*ids, mine] if mine and mine not in ids else ids


def youngest(
    facts: Iterable[SnapshotFact], *, now: float, unless_newer_than_s: float
) -> SnapshotFact | None:
    """The youngest that counts, if it is younger by the margin at `now` (Unix seconds). What is not
    made, not ready and not in the making, or has no time that can be read, does not count."""
    aged = [(age, fact) for fact in facts if (age := _age_s(fact, now)) is not None]
    if not aged:
        return None
    age, fact = min(aged, key=lambda item: item[0])
    return fact if age + FRESH_MARGIN_S < unless_newer_than_s else None


def _age_s(fact: SnapshotFact, now: float) -> float | None:
    if fact.state not in _COUNTS:
        return None
    try:
        made = datetime.strptime(fact.create_time, _FORM).replace(tzinfo=CREATE_TIME_ZONE)
    except ValueError:
        return None
    return max(0.0, now - made.timestamp())  # a time ahead of ours was made just now
