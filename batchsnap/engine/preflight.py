"""What must be known before a row's first intent: its disk, and which snapshots it does not own.

A row with only a backup point learns its disk. A row with a name of its own gets a baseline, the
ids of same-named snapshots that are on the disk already; only a whole answer makes one. Where the
ledger has a gap, its silence about a row is no proof, so every row that isn't done is asked about;
one that was perhaps never sent, with a namesake of its own name on its disk, is for a person to
judge. After a cut that is rare, and the row is refused; a ledger that was only moved has very many
such rows, and they wait. With --unless-newer-than a row is skipped whose disk has a snapshot young
enough.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.faults import hint
from batchsnap.cloud.pages import BackupFact, SnapshotFact
from batchsnap.ledger.gap import Gap
from batchsnap.lifecycle import Event
from batchsnap.model import Verdict
from batchsnap.settings import written
from batchsnap.settling.evidence import youngest
from batchsnap.settling.row import Row, RunContext

_RETRY_FIRST_S = 1.0
_RETRY_MOST_S = 60.0
_Fact = TypeVar("_Fact", BackupFact, SnapshotFact)


class Short(NamedTuple):
    """A row about which the cloud tells less than it counts."""

    row: Row
    why: questions.Unanswered


class Known(NamedTuple):
    """What is known of some rows."""

    ready: list[Row]  # may be sent now
    short: list[Short]  # may not; to be asked about again


def needs_question(row: Row, context: RunContext, *, ask_first: Gap) -> bool:
    """Whether the row may not be sent as it is."""
    unknown = not row.disk_id or (row.request.named and row.baseline is None)
    return bool(ask_first) or unknown or _may_be_skipped(row, context)


def _may_be_skipped(row: Row, context: RunContext) -> bool:
    """Whether a young snapshot of its disk will do. Not for a row of which something may turn up
    yet, and not for a backup point, which is a state of its own."""
    if not context.settings.unless_newer_than_s or row.request.disk_backup_id:
        return False
    standing = context.sink.fold.standing(row.key)
    return not (standing.doubted or standing.owed)


async def preflight(
    rows: Sequence[Row], account: Account, context: RunContext, *, region: str, ask_first: Gap
) -> Known | questions.Unanswered:
    """What is known of the rows (at most ten); what became of those that may never be sent is
    recorded.

    Waits and asks again while the cloud does not answer; `Unanswered` where it refuses to, or
    where the run stops first.
    """
    found = await _with_disks(rows, account, context, region)
    if isinstance(found, questions.Unanswered):
        return found
    asked = [row for row in found.ready if needs_question(row, context, ask_first=ask_first)]
    if not asked:
        return found
    requests = [row.request for row in asked]
    answers = await _insist(context, region, lambda: context.maker.named(account, region, requests))
    if isinstance(answers, questions.Unanswered):
        return answers
    known = Known([row for row in found.ready if row not in asked], found.short)
    for row in asked:
        answer = answers[row.disk_id]
        same = [fact.snapshot_id for fact in answer.facts if fact.name == row.request.name]
        unknown = [i for i in same if i not in (row.baseline or ())]
        if ask_first and unknown:
            _has_one(row, unknown, context, ask_first)
        elif _skipped(row, answer.facts, context):
            continue
        elif isinstance(answer, questions.Part):
            known.short.append(Short(row, answer.why))
        else:
            if row.request.named and row.baseline is None:
                row.baseline = same
            known.ready.append(row)
    return known


def _skipped(row: Row, facts: Sequence[SnapshotFact], context: RunContext) -> bool:
    """Record a row whose disk has a young snapshot. What a short answer shows is true all the
    same."""
    if not _may_be_skipped(row, context):
        return False
    limit_s = context.settings.unless_newer_than_s
    fact = youngest(facts, now=context.clock.wall(), unless_newer_than_s=limit_s)
    if fact is None:
        return False
    evidence = (
        f"{fact.snapshot_id} of {row.disk_id}, {fact.state} since {fact.create_time} (Shanghai), "
        f"is younger than {written(limit_s)}"
    )
    context.note(Event.SKIPPED, row, snapshot_id=fact.snapshot_id, evidence=evidence)
    return True


_GAP = {Gap.CUT: "the ledger was cut", Gap.LOST: "records of the ledger may be lost"}


def _has_one(row: Row, unknown: Sequence[str], context: RunContext, gap: Gap) -> None:
    """Record what becomes of a row whose name the cloud has, where the ledger has a gap."""
    if row.request.named and row.baseline is None:
        _leave_to_a_person(row, unknown, context, gap)
        return
    why = f"{_GAP[gap]}, and the cloud has this row's snapshot"
    context.note(Event.IN_DOUBT, row, code=f"ledger.{gap}", message=why)
    where = context.maker.where(row.request)
    evidence = f"{unknown[0]} has the name {row.request.name} {where}"
    context.note(Event.SETTLED, row, found=True, snapshot_id=unknown[0], evidence=evidence)
    context.note(Event.ACCEPTED, row, snapshot_id=unknown[0])


def _leave_to_a_person(row: Row, namesakes: Sequence[str], context: RunContext, gap: Gap) -> None:
    """Whether a namesake is this row's snapshot only a person can tell."""
    what = f"{_GAP[gap]}, and {', '.join(namesakes)} on {row.disk_id} has this row's own name"
    if gap is Gap.LOST:
        why = (
            f"{what}: go on with the ledger that was written last, or, if none is of this run, "
            "give the row another SnapshotName; then run the same command again"
        )
        context.note(Event.DEFERRED, row, code="ledger.lost", message=why)
    else:
        why = (
            f"{what}: if none is of this run, give the row another SnapshotName and run with "
            "--retry-failed"
        )
        context.note(
            Event.REJECTED, row, code=f"ledger.{gap}", message=why, verdict=Verdict.REJECTED.value
        )


async def _with_disks(
    rows: Sequence[Row], account: Account, context: RunContext, region: str
) -> Known | questions.Unanswered:
    """The rows, each with its disk; one whose backup point does not exist is rejected."""
    lost = [row for row in rows if not row.disk_id]
    if not lost:
        return Known(list(rows), [])
    ids = sorted(row.request.disk_backup_id for row in lost)

    async def question() -> dict[str, questions.Answer[BackupFact]]:
        return {"": await questions.backups(account, region, ids)}

    answers = await _insist(context, region, question)
    if isinstance(answers, questions.Unanswered):
        return answers
    answer = answers[""]
    disk_of = {fact.backup_id: fact.disk_id for fact in answer.facts}
    short: list[Short] = []
    for row in lost:
        backup_id = row.request.disk_backup_id
        row.request = row.request._replace(disk_id=disk_of.get(backup_id, ""))
        if row.disk_id:
            continue
        if isinstance(answer, questions.Part):
            short.append(Short(row, answer.why))
        else:
            why = f"no backup point {backup_id} in {region}"
            code = "plan.backup_unknown"
            context.note(
                Event.REJECTED, row, code=code, message=why, verdict=Verdict.REJECTED.value
            )
    return Known([row for row in rows if row.disk_id], short)


async def _insist(
    context: RunContext,
    region: str,
    question: Callable[[], Awaitable[dict[str, questions.Answer[_Fact]]]],
) -> dict[str, questions.Answer[_Fact]] | questions.Unanswered:
    """Ask until there are answers, if short ones, a refusal, --retry-for is spent, or the run
    stops. What fails twice is said once: no record tells of it, and nothing is sent meanwhile."""
    pause, asked = _RETRY_FIRST_S, 0
    patient_until = context.clock.monotonic() + context.settings.retry_for_s
    while True:
        answers = await question()
        parts = [answer.why for answer in answers.values() if isinstance(answer, questions.Part)]
        failed = [why for why in parts if why.code != questions.SHORT]
        if not failed:
            return answers
        why, asked = failed[0], asked + 1
        spent = context.clock.monotonic() > patient_until
        if why.denied or context.stop.stopping:
            return why
        if asked == 2 or (spent and asked == 1):
            context.say(
                f"{region}: rows must be asked about before they are sent, and no answer comes: "
                f"{why.code}: {why.message}: {hint(why.code)}; asked until --retry-for is spent"
            )
        if spent:
            return why
        with context.stop.ends():
            await context.clock.sleep(pause)
        pause = min(_RETRY_MOST_S, pause * 2)
