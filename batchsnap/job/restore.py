"""Asks the cloud what a restore map needs: disks and snapshots, and copies where they are.

A ledger does not hold what a disk is like, so the map is true for the moment in which it was drawn:
draw it while all is well, and keep it with the ledger. A region that does not answer leaves its
columns empty, which is said; the copies' region still tells whether they become disks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.actions import PAGE_MAX
from batchsnap.cloud.pages import DiskFact, SnapshotFact
from batchsnap.ledger.ports import Store
from batchsnap.report.facts import RowFact
from batchsnap.report.restore import RestoreLine, Told, line_of
from batchsnap.report.story import read_story

Reach = Callable[[str, str], Account]
"""(profile, region) -> the way there."""

_Fact = TypeVar("_Fact", DiskFact, SnapshotFact)


class Copies(NamedTuple):
    """The copies of a ledger's snapshots in one region."""

    region: str
    by_source: dict[str, RowFact]  # by the snapshot that each is a copy of


def copies_beside(store: Store) -> list[Copies]:
    """What the ledgers of copies beside a ledger tell, by region."""
    found = []
    for region, copy in store.beside("copy"):
        facts = read_story(copy).facts.by_key.values()
        found.append(Copies(region, {fact.source_id: fact for fact in facts}))
    return found


async def draw(
    rows: Sequence[RowFact], copies: Sequence[Copies], reach: Reach
) -> tuple[list[RestoreLine], list[str]]:
    """(a line for each row and copy, why something is not known)."""
    asking = _Asking(reach)
    disks = await asking.about(
        questions.disks, ((row.profile, row.region, row.disk_id) for row in rows)
    )
    snapshots = await asking.about(
        questions.snapshots_by_id, ((row.profile, row.region, row.snapshot_id) for row in rows)
    )
    lines: list[RestoreLine] = []
    for there in copies or [Copies("", {})]:
        pairs = [(row, there.by_source.get(row.snapshot_id)) for row in rows]
        shown = await asking.about(
            questions.snapshots_by_id,
            ((row.profile, there.region, copy.snapshot_id) for row, copy in pairs if copy),
        )
        for row, copy in pairs:
            told = Told(
                disks.get(row.disk_id),
                snapshots.get(row.snapshot_id),
                shown.get(copy.snapshot_id) if copy else None,
            )
            lines.append(line_of(row, copy, there.region if copy else "", told))
    return lines, asking.unanswered


class _Asking:
    """Asks by the hundred; a region that does not answer one question is not asked the next."""

    def __init__(self, reach: Reach) -> None:
        self.unanswered: list[str] = []
        self._reach = reach

    async def about(
        self,
        question: Callable[[Account, str, Sequence[str]], Awaitable[questions.Answer[_Fact]]],
        wanted: Iterable[tuple[str, str, str]],
    ) -> dict[str, _Fact]:
        """The facts by id, of (profile, region, id); what is not shown is not among them."""
        by_scope: dict[tuple[str, str], dict[str, None]] = {}
        for profile, region, thing in wanted:
            if thing:
                by_scope.setdefault((profile, region), {})[thing] = None
        facts: dict[str, _Fact] = {}
        for (profile, region), things in by_scope.items():
            account, ids = self._reach(profile, region), list(things)
            for first in range(0, len(ids), PAGE_MAX):
                answer = await question(account, region, ids[first : first + PAGE_MAX])
                for fact in answer.facts:
                    facts[_identity(fact)] = fact
                if isinstance(answer, questions.Part):
                    self.unanswered.append(f"{region}: {answer.why.code}: {answer.why.message}")
                    break
        return facts


def _identity(fact: DiskFact | SnapshotFact) -> str:
    return fact.disk_id if isinstance(fact, DiskFact) else fact.snapshot_id
