"""Whether a disk has a snapshot so young that --unless-newer-than makes no other.

This is the only place where a CreateTime counts. The cloud writes it without a zone, so a doubt is
never settled by it; here a wrong reading makes one snapshot too many, or leaves one for the next
night.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from batchsnap.cloud.pages import SnapshotFact
from batchsnap.settings import FRESH_MARGIN_S

CREATE_TIME_ZONE = timezone(timedelta(hours=8))
"""Shanghai, as recorded replies of the cloud have it (there is no summer time). Were it UTC in
truth, every snapshot would seem eight hours older than it is, and more would be made."""
_COUNTS = frozenset({"NORMAL", "CREATING"})
_FORM = "%Y-%m-%d %H:%M:%S"


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
