"""`plan --online`: each row to do against DescribeDisks, a hundred at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.actions import DATA_DISK, SYSTEM_DISK, DiskFact
from batchsnap.engine.queue import Queue
from batchsnap.job.discover import unfit
from batchsnap.model import PlannedRequest, Problem

CHAIN_NEAR = 60
"""A disk is said to take 64 snapshots (an older page of the quota documentation); so many are
near it."""
_ROWS_A_QUESTION = 100


@dataclass(slots=True)
class Online:
    """What the cloud says of the rows."""

    checked: int = 0
    problems: list[Problem] = field(default_factory=list)  # rows that can't work
    warnings: list[Problem] = field(default_factory=list)  # rows that may have to wait, and such
    unanswered: list[str] = field(default_factory=list)  # regions that did not answer, and why
    size_gib: int = 0  # of the disks that were found


async def check(account: Account, queue: Queue, source: str, found: Online) -> None:
    """Check a queue's rows and add what is found."""
    for batch in queue.worklist.batches(_ROWS_A_QUESTION):
        rows = [row for row in batch if row.disk_id]
        if not rows:
            continue
        answer = await questions.disks(account, queue.region, [row.disk_id for row in rows])
        if isinstance(answer, questions.Part):
            found.unanswered.append(f"{queue.region}: {answer.why.code}: {answer.why.message}")
            return
        _judge(rows, {fact.disk_id: fact for fact in answer.facts}, source, found)


def _judge(
    rows: Sequence[PlannedRequest], facts: dict[str, DiskFact], source: str, found: Online
) -> None:
    for row in rows:
        found.checked += 1
        fact = facts.get(row.disk_id)
        if fact is None:
            what = (
                f"this credential sees no {row.disk_id} in {row.region}: check the id, the region "
                "and the account"
            )
            found.problems.append(Problem(source, row.line, "DiskId", what))
            continue
        found.size_gib += fact.size_gib
        if why := unfit(fact):
            found.problems.append(Problem(source, row.line, "DiskId", f"{row.disk_id} {why}"))
        for what in _warnings(row, fact):
            found.warnings.append(Problem(source, row.line, "DiskId", f"{row.disk_id} {what}"))


def _warnings(row: PlannedRequest, fact: DiskFact) -> Iterator[str]:
    if fact.usage == SYSTEM_DISK and row.disk_usage != DATA_DISK:
        yield (
            "is a system disk: its snapshot becomes an image and no disk, unless its row has "
            f"DiskUsage={DATA_DISK}"
        )
    if fact.migrating:
        yield "is migrating: it is refused as busy until that ends, which can take hours"
    if fact.rollbacking:
        yield "is being rolled back: it is refused as busy until that ends"
    if fact.shareable:
        yield "is shared: some regions make no snapshots of shared disks"
    if fact.snapshot_count >= CHAIN_NEAR:
        yield f"has {fact.snapshot_count} snapshots: near the limit of a disk"
