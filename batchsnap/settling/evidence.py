"""Which snapshots are a row's: by its disk, the name that its intent recorded, and the ids that
were there before it or are another row's. Time is no evidence: CreateTime has no zone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchsnap.cloud.pages import SnapshotFact
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import DONE
from batchsnap.settling.row import Row

Claimed = Callable[[str], set[str]]
"""Snapshot ids on a disk that rows of this ledger were given."""


def matches(row: Row, facts: Sequence[SnapshotFact], fold: Fold, claimed: Claimed) -> list[str]:
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


def own(row: Row, fold: Fold, claimed: Claimed) -> str:
    """The snapshot that the row was given, "" where it has none or which is unknown."""
    latest = fold.latest.get(row.key, {})
    known = row.snapshot_id or latest.get("snapshot_id", "")
    if known or fold.standing(row.key).state not in DONE:
        return known
    # Its latest record tells of something else: of a second snapshot, of a halt.
    on_disk = claimed(row.disk_id)
    return on_disk.pop() if len(on_disk) == 1 else ""


def second(row: Row, ids: list[str], fold: Fold, claimed: Claimed) -> list[str]:
    """All snapshots of a row that has its own, where one of `ids`, its matches, is not that: its
    own may be too fresh to be shown, or gone."""
    mine = own(row, fold, claimed)
    if ({mine} if mine else claimed(row.disk_id)).issuperset(ids):
        return []
    return [*ids, mine] if mine and mine not in ids else ids
