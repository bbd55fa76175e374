"""What must be known before a row's first intent: its disk, and which snapshots it does not own.

A row with only a backup point learns its disk. A row with a name of its own gets a baseline, the
ids of same-named snapshots that are on the disk already. After a repair that cut the ledger, its
silence about a row is no proof, so every row that isn't done is asked about; one that was perhaps
never sent, with a namesake of its own name on its disk, is for a person to judge.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from batchsnap.engine import ask
from batchsnap.engine.access import Access
from batchsnap.engine.attempt import Desk
from batchsnap.engine.row import Row

_RETRY_FIRST_S = 1.0
_RETRY_MOST_S = 60.0
_Fact = TypeVar("_Fact")


def needs_question(row: Row, *, ask_first: bool) -> bool:
    """Whether the row may not be sent as it is."""
    return ask_first or not row.disk_id or (row.request.named and row.baseline is None)


async def preflight(
    rows: Sequence[Row], access: Access, desk: Desk, *, region: str, ask_first: bool
) -> list[Row] | ask.Unanswered:
    """The rows (at most ten) that may be sent now; what became of the others is recorded.

    Waits and asks again while the cloud does not answer; `Unanswered` where it refuses to, or
    where the run stops first.
    """
    known = await _with_disks(rows, access, desk, region)
    if isinstance(known, ask.Unanswered):
        return known
    asked = [row for row in known if needs_question(row, ask_first=ask_first)]
    if not asked:
        return known
    disk_ids = sorted({row.disk_id for row in asked})
    answer = await _insist(desk, lambda: ask.snapshots_on(access, region, disk_ids))
    if isinstance(answer, ask.Unanswered):
        return answer
    ready = [row for row in known if row not in asked]
    for row in asked:
        same = [
            fact.snapshot_id
            for fact in answer
            if fact.disk_id == row.disk_id and fact.name == row.request.name
        ]
        unknown = [i for i in same if i not in (row.baseline or ())]
        if ask_first and unknown and (row.baseline is not None or not row.request.named):
            why = "the ledger was cut, and the cloud has this row's snapshot"
            desk.note("in_doubt", row, code="ledger.cut", message=why)
            evidence = f"{unknown[0]} has the name {row.request.name} on {row.disk_id}"
            desk.note("settled", row, found=True, snapshot_id=unknown[0], evidence=evidence)
            desk.note("accepted", row, snapshot_id=unknown[0])
        elif ask_first and unknown:
            why = (
                f"the ledger was cut, and {', '.join(unknown)} on {row.disk_id} has this row's own "
                "name: if none is of this run, give the row another SnapshotName and run with "
                "--retry-failed"
            )
            desk.note("rejected", row, code="ledger.cut", message=why, verdict="REJECTED")
        else:
            if row.request.named and row.baseline is None:
                row.baseline = same
            ready.append(row)
    return ready


async def _with_disks(
    rows: Sequence[Row], access: Access, desk: Desk, region: str
) -> list[Row] | ask.Unanswered:
    """The rows, each with its disk; one whose backup point does not exist is rejected."""
    lost = [row for row in rows if not row.disk_id]
    if not lost:
        return list(rows)
    ids = sorted(row.request.disk_backup_id for row in lost)
    answer = await _insist(desk, lambda: ask.backups(access, region, ids))
    if isinstance(answer, ask.Unanswered):
        return answer
    disk_of = {fact.backup_id: fact.disk_id for fact in answer}
    for row in lost:
        row.request = row.request._replace(disk_id=disk_of.get(row.request.disk_backup_id, ""))
        if not row.disk_id:
            why = f"no backup point {row.request.disk_backup_id} in {region}"
            desk.note("rejected", row, code="plan.backup_unknown", message=why, verdict="REJECTED")
    return [row for row in rows if row.disk_id]


async def _insist(
    desk: Desk, question: Callable[[], Awaitable[list[_Fact] | ask.Unanswered]]
) -> list[_Fact] | ask.Unanswered:
    """Ask until there is an answer, a refusal, --retry-for is spent, or the run stops."""
    pause = _RETRY_FIRST_S
    patient_until = desk.clock.monotonic() + desk.settings.retry_for_s
    while True:
        answer = await question()
        if not isinstance(answer, ask.Unanswered) or answer.denied or desk.stop.stopping:
            return answer
        if desk.clock.monotonic() > patient_until:
            return answer
        with desk.stop.ends():
            await desk.clock.sleep(pause)
        pause = min(_RETRY_MOST_S, pause * 2)
