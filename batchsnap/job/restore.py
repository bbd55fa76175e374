"""The restore map: for each row what the person needs who rebuilds its disk, here or elsewhere.

A ledger does not hold what a disk is like, so the cloud is asked, and the map is true for the
moment in which it was drawn: draw it while all is well, and keep it with the ledger. A region that
does not answer leaves its columns empty, which is said; the copies' region still tells whether they
become disks.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple, TypeVar

import orjson

from batchsnap.client import questions
from batchsnap.client.account import Account, Reach
from batchsnap.cloud.actions import DATA_DISK, PAGE_MAX, SYSTEM_DISK
from batchsnap.cloud.pages import DiskFact, SnapshotFact
from batchsnap.ledger.ports import Store
from batchsnap.lifecycle import THERE, State
from batchsnap.report.files import csv_text
from batchsnap.report.story import RowFact, read_story

_Fact = TypeVar("_Fact", DiskFact, SnapshotFact)
_NO_WORD = re.compile(r"[^a-z0-9]+")
_HAS_ONE = THERE | {State.SKIPPED}


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


@dataclass(frozen=True, slots=True)
class RestoreLine:
    """A row, and one copy of its snapshot; "" is what nobody told."""

    name: str  # for terraform: letters, digits and underscores, one for each row
    disk_id: str
    disk_backup_id: str
    disk_name: str
    usage: str  # of the disk: SYSTEM_DISK or DATA_DISK
    size_gib: str  # a new disk is at least as large
    disk_type: str
    zone: str
    instance_id: str
    region: str
    profile: str
    state: str  # of the row
    snapshot_id: str
    copy_region: str
    copy_state: str
    copy_id: str
    snapshot_usage: str  # of the snapshot, which decides
    becomes_disk: str  # yes, no, or unknown
    why: str  # of a no or unknown


@dataclass(frozen=True, slots=True)
class Told:
    """What the cloud told of a row when the map was drawn."""

    disk: DiskFact | None = None
    snapshot: SnapshotFact | None = None
    copy: SnapshotFact | None = None


def line_of(row: RowFact, copy: RowFact | None, copy_region: str, told: Told) -> RestoreLine:
    """The line of a row and of one copy of its snapshot, if it has one."""
    disk, snapshots = told.disk, [f for f in (told.copy, told.snapshot) if f is not None]
    usage = next((f.usage for f in snapshots if f.usage), "")
    size = next((f.size_gib for f in snapshots if f.size_gib), disk.size_gib if disk else 0)
    becomes, why = _becomes(row, usage)
    return RestoreLine(
        name=_NO_WORD.sub("_", row.key.lower()).strip("_"),
        disk_id=row.disk_id,
        disk_backup_id=row.disk_backup_id,
        disk_name=disk.name if disk else "",
        usage=disk.usage if disk else "",
        size_gib=str(size or ""),
        disk_type=disk.disk_type if disk else "",
        zone=disk.zone if disk else "",
        instance_id=disk.instance_id if disk else "",
        region=row.region,
        profile=row.profile,
        state=row.state,
        snapshot_id=row.snapshot_id if row.state in _HAS_ONE else "",
        copy_region=copy_region,
        copy_state=copy.state if copy else "",
        copy_id=copy.snapshot_id if copy and copy.state in _HAS_ONE else "",
        snapshot_usage=usage,
        becomes_disk=becomes,
        why=why,
    )


def _becomes(row: RowFact, usage: str) -> tuple[str, str]:
    if row.state not in _HAS_ONE:
        return "no", f"there is no snapshot: {row.state}"
    if usage == SYSTEM_DISK:
        return "no", "the snapshot of a system disk becomes an image: CreateImage, RunInstances"
    if usage == DATA_DISK:
        return "yes", ""
    return "unknown", "the cloud did not tell what the snapshot is of: draw the map again"


def restore_csv(lines: Iterable[RestoreLine]) -> str:
    """A header and a line each. Terraform reads it too, so no mark tells that it is UTF-8."""
    names = [field.name for field in fields(RestoreLine)]
    return csv_text(names, ([getattr(line, name) for name in names] for line in lines))


def restore_json(lines: Iterable[RestoreLine], *, asked_at: str) -> str:
    """`{"asked_at", "rows"}`."""
    told = {"asked_at": asked_at, "rows": [asdict(line) for line in lines]}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
