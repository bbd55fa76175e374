"""The two calls that make a snapshot, and everything in which they differ.

                   Creator                     Copier
the call           CreateSnapshot              CopySnapshotCrossRegions, one destination
sent to            the row's region            the row's region, where the source is
what is made lies  in the row's region         in the destination
it is known by     its disk and its name       its name alone: the destination has no such disk
silence counts     if the disk is seen         if the source snapshot is seen

The rest of the engine is the same for both. What the cloud shows of copies is handed on as if it
lay on the row's disk, so that nobody else has to know: what DiskId a copy shows is not documented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from batchsnap.client import questions
from batchsnap.client.account import Account, Reach
from batchsnap.client.ports import Say
from batchsnap.client.questions import Answer, Part, Silence, Whole
from batchsnap.cloud import actions
from batchsnap.cloud.actions import Creation
from batchsnap.cloud.pages import SnapshotFact
from batchsnap.ledger.record import Record
from batchsnap.model import PlannedRequest

Answers = dict[str, Answer[SnapshotFact]]
"""By disk."""


class Subject(Protocol):
    """What a snapshot is made of."""

    @property
    def disk_id(self) -> str: ...
    @property
    def source_id(self) -> str: ...


class Place(NamedTuple):
    """Where something lies, and the way there."""

    account: Account
    region: str


class Maker(Protocol):
    """One of the two calls. `account` reaches the region of the rows."""

    @property
    def action(self) -> str: ...

    def body(self, request: PlannedRequest) -> bytes: ...

    def made(self, response: dict[str, Any]) -> Creation:
        """What a reply says was made."""
        ...

    def place(self, account: Account, region: str) -> Place:
        """Where that lies which is made of rows of a region."""
        ...

    async def named(self, account: Account, region: str, rows: Sequence[PlannedRequest]) -> Answers:
        """What may be the snapshots of up to ten rows, by their disks."""
        ...

    async def by_id(
        self, account: Account, region: str, disk_of: Mapping[str, str]
    ) -> Answer[SnapshotFact]:
        """Those of up to 100 snapshots that exist; `disk_of`: the disk that each is of."""
        ...

    async def silence(
        self, account: Account, region: str, silent: Answers, subjects: Iterable[Subject], say: Say
    ) -> Silence:
        """What the silence of answers proves, each by the disk that it is silent about."""
        ...

    async def seen(self, account: Account, region: str, subjects: Sequence[Subject]) -> bool | None:
        """Whether this credential sees any of up to 100; None where that is not known."""
        ...

    def unseen(self, subject: Subject, region: str) -> questions.Unanswered:
        """Why silence proves nothing where the subject is not seen."""
        ...

    def where(self, request: PlannedRequest) -> str:
        """In words, where a row's snapshot is looked for."""
        ...


@dataclass(frozen=True, slots=True)
class Creator:
    """A snapshot of a disk, beside it."""

    action: str = actions.CREATE

    def body(self, request: PlannedRequest) -> bytes:
        return actions.create_snapshot(request)

    def made(self, response: dict[str, Any]) -> Creation:
        return actions.created(response)

    def place(self, account: Account, region: str) -> Place:
        return Place(account, region)

    async def named(self, account: Account, region: str, rows: Sequence[PlannedRequest]) -> Answers:
        return await questions.snapshots_on(account, region, sorted({row.disk_id for row in rows}))

    async def by_id(
        self, account: Account, region: str, disk_of: Mapping[str, str]
    ) -> Answer[SnapshotFact]:
        return await questions.snapshots_by_id(account, region, list(disk_of))

    async def silence(
        self, account: Account, region: str, silent: Answers, subjects: Iterable[Subject], say: Say
    ) -> Silence:
        return await questions.silence(account, region, silent, say)

    async def seen(self, account: Account, region: str, subjects: Sequence[Subject]) -> bool | None:
        return _any(
            await questions.disks(account, region, [subject.disk_id for subject in subjects])
        )

    def unseen(self, subject: Subject, region: str) -> questions.Unanswered:
        return questions.unseen(subject.disk_id, region)

    def where(self, request: PlannedRequest) -> str:
        return f"on {request.disk_id}"


@dataclass(frozen=True, slots=True)
class Copier:
    """A copy of a snapshot, in the region `to`."""

    to: str
    reach: Reach
    action: str = actions.COPY

    def body(self, request: PlannedRequest) -> bytes:
        return actions.copy_snapshot(request.source_id, name=request.name, to=self.to)

    def made(self, response: dict[str, Any]) -> Creation:
        return actions.copied(response, self.to)

    def place(self, account: Account, region: str) -> Place:
        return Place(self.reach(account.profile, self.to), self.to)

    async def named(self, account: Account, region: str, rows: Sequence[PlannedRequest]) -> Answers:
        names = sorted({row.name for row in rows})
        found = await questions.snapshots_named(*self.place(account, region), names)
        answers: Answers = {}
        for row in rows:
            answer = _as_of(found[row.name], dict.fromkeys(_ids(found[row.name]), row.disk_id))
            before = answers.get(row.disk_id)
            answers[row.disk_id] = answer if before is None else questions.together(before, answer)
        return answers

    async def by_id(
        self, account: Account, region: str, disk_of: Mapping[str, str]
    ) -> Answer[SnapshotFact]:
        place = self.place(account, region)
        return _as_of(await questions.snapshots_by_id(*place, list(disk_of)), disk_of)

    async def silence(
        self, account: Account, region: str, silent: Answers, subjects: Iterable[Subject], say: Say
    ) -> Silence:
        whole = [s for s in subjects if isinstance(silent.get(s.disk_id), Whole)]
        if not whole:
            return Silence(silent)
        sources = sorted({subject.source_id for subject in whole})
        answer = await questions.snapshots_by_id(account, region, sources)
        blind, shown = answer.why if isinstance(answer, Part) else None, _ids(answer)
        unseen = [subject for subject in whole if subject.source_id not in shown]
        return Silence(silent, {s.disk_id: blind or self.unseen(s, region) for s in unseen})

    async def seen(self, account: Account, region: str, subjects: Sequence[Subject]) -> bool | None:
        sources = [subject.source_id for subject in subjects]
        return _any(await questions.snapshots_by_id(account, region, sources))

    def unseen(self, subject: Subject, region: str) -> questions.Unanswered:
        return questions.Unanswered(
            False,
            questions.UNSEEN,
            f"this credential sees no {subject.source_id} in {region}, the source, so its silence "
            f"about copies in {self.to} proves nothing: check the account; if the source was "
            "deleted, look for the copy by its name",
        )

    def where(self, request: PlannedRequest) -> str:
        return f"in {self.to}"


def maker_of(header: Record, reach: Reach) -> Maker:
    """The call that a ledger's run makes."""
    to = header.get("copy_to", "")
    return Copier(to, reach) if to else Creator()


def _any(answer: Answer[Any]) -> bool | None:
    if answer.facts:
        return True
    return False if isinstance(answer, Whole) else None


def _ids(answer: Answer[SnapshotFact]) -> set[str]:
    return {fact.snapshot_id for fact in answer.facts}


def _as_of(answer: Answer[SnapshotFact], disk_of: Mapping[str, str]) -> Answer[SnapshotFact]:
    """The facts, each as if it lay on the disk that it is of."""
    facts = (fact._replace(disk_id=disk_of.get(fact.snapshot_id, "")) for fact in answer.facts)
    return replace(answer, facts=tuple(facts))
