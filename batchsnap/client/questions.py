"""Questions to the cloud, paged. An answer proves what it shows; only a whole one what it lacks.

`Whole` is all there is, `Part` is not, for a reason that it carries: a page that failed, a refusal,
or a list that counts more than it shows. That something is absent is concluded from `silence`
alone, which takes a whole answer and the sight of the disk, since a wrong account sees nothing too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from batchsnap.client.account import Account
from batchsnap.client.ports import Say
from batchsnap.cloud import actions
from batchsnap.cloud.pages import (
    BACKUPS,
    DISKS,
    SNAPSHOTS,
    BackupFact,
    DiskFact,
    Listing,
    SnapshotFact,
)
from batchsnap.errors import CredentialsError

DISKS_A_QUESTION = 10  # the disk-id filter takes no more values (DescribeSnapshots page)
SHORT = "reply.short"
UNSEEN = "settle.disk_unseen"
_PAGE = 100
_PAGES_MAX = 10_000
_WALKS = 3
_Item = TypeVar("_Item")

Body = Callable[..., bytes]
"""Of a question; takes `offset` and `limit`."""


class Unanswered(NamedTuple):
    """Why an answer is not whole. `denied`: asking again will not help."""

    denied: bool
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Whole(Generic[_Item]):
    """All there is: what is not in it does not exist for this credential."""

    facts: tuple[_Item, ...]


@dataclass(frozen=True, slots=True)
class Part(Generic[_Item]):
    """Some of what there is, perhaps nothing: each fact is true, and what is missing may exist."""

    facts: tuple[_Item, ...]
    why: Unanswered


Answer: TypeAlias = Whole[_Item] | Part[_Item]


class Silence:
    """What it proves, disk by disk, that answers do not show something on them. Only the silence of
    a whole answer proves something, and only where the subject itself is not `unseen`."""

    def __init__(
        self,
        answers: Mapping[str, Answer[SnapshotFact]],
        unseen: Mapping[str, Unanswered] | None = None,
    ) -> None:
        self._why = {d: a.why if isinstance(a, Part) else None for d, a in answers.items()}
        self._why |= unseen or {}

    def proves(self, disk_id: str) -> bool:
        """Whether what was not shown of this disk is not there."""
        return disk_id in self._why and self._why[disk_id] is None

    def why(self, disk_id: str) -> Unanswered:
        """Why it proves nothing of this disk; only to be asked where it doesn't."""
        return self._why.get(disk_id) or Unanswered(False, SHORT, f"{disk_id} was not asked about")


async def snapshots_on(
    account: Account, region: str, disk_ids: Sequence[str]
) -> dict[str, Answer[SnapshotFact]]:
    """The private snapshots of each of up to ten disks, oldest first, each once."""
    return await _each(
        account,
        region,
        disk_ids,
        lambda some: partial(actions.describe_snapshots, disk_ids=some),
        lambda fact: fact.disk_id,
    )


async def snapshots_named(
    account: Account, region: str, names: Sequence[str]
) -> dict[str, Answer[SnapshotFact]]:
    """The private snapshots of each of up to ten names, as `snapshots_on` gives those of disks."""
    return await _each(
        account,
        region,
        names,
        lambda some: partial(actions.describe_snapshots, names=some),
        lambda fact: fact.name,
    )


async def _each(
    account: Account,
    region: str,
    subjects: Sequence[str],
    body: Callable[[Sequence[str]], Body],
    subject_of: Callable[[SnapshotFact], str],
) -> dict[str, Answer[SnapshotFact]]:
    """The snapshots of each subject. Where the list stays short the subjects are asked about one by
    one, so that the flaw of one is not the others'."""
    answer = await _asked(account, region, SNAPSHOTS, body(subjects))
    if isinstance(answer, Part) and answer.why.code == SHORT and len(subjects) > 1:
        alone = [await _each(account, region, [one], body, subject_of) for one in subjects]
        return {subject: one for answers in alone for subject, one in answers.items()}
    return {
        subject: replace(answer, facts=tuple(f for f in answer.facts if subject_of(f) == subject))
        for subject in subjects
    }


async def snapshots_by_id(
    account: Account, region: str, snapshot_ids: Sequence[str]
) -> Answer[SnapshotFact]:
    """The snapshots of up to 100 ids that exist. Where the cloud refuses the whole question for
    one unknown id, halves are asked about."""
    body = partial(actions.describe_snapshots, snapshot_ids=snapshot_ids)
    answer = await _asked(account, region, SNAPSHOTS, body)
    if isinstance(answer, Whole) or "NotFound" not in answer.why.code:
        return answer
    if len(snapshot_ids) == 1:
        return Whole(())
    half = len(snapshot_ids) // 2
    first = await snapshots_by_id(account, region, snapshot_ids[:half])
    second = await snapshots_by_id(account, region, snapshot_ids[half:])
    return together(first, second)


def together(one: Answer[_Item], other: Answer[_Item]) -> Answer[_Item]:
    """What two answers show; whole only where both are."""
    facts = one.facts + other.facts
    for part in (one, other):
        if isinstance(part, Part):
            return Part(facts, part.why)
    return Whole(facts)


async def disks(account: Account, region: str, disk_ids: Sequence[str]) -> Answer[DiskFact]:
    """The disks of up to 100 ids that this credential can see."""
    return await _asked(account, region, DISKS, partial(actions.describe_disks, disk_ids=disk_ids))


async def disks_like(
    account: Account, region: str, filters: Sequence[actions.Filter]
) -> Answer[DiskFact]:
    """All disks that pass the filters."""
    return await _asked(account, region, DISKS, partial(actions.describe_disks, filters=filters))


async def backups(account: Account, region: str, backup_ids: Sequence[str]) -> Answer[BackupFact]:
    """The backup points of up to 100 ids that exist."""
    body = partial(actions.describe_disk_backups, backup_ids=backup_ids)
    return await _asked(account, region, BACKUPS, body)


async def silence(
    account: Account,
    region: str,
    silent: Mapping[str, Answer[SnapshotFact]],
    say: Say,
) -> Silence:
    """What the silence of answers proves, each by the disk (up to 100) that it is silent about.

    Only a whole answer's, and only where this credential sees the disk. The disk is not asked for
    where there is none ("") or where the policy forbids the question, which is said once.
    """
    wanted = sorted(
        disk_id for disk_id, answer in silent.items() if disk_id and isinstance(answer, Whole)
    )
    if not wanted or account.disks_denied:
        return Silence(silent)
    seen = await disks(account, region, wanted)
    if isinstance(seen, Part) and seen.why.denied:
        account.disks_denied = True
        say(
            f"DescribeDisks is denied ({seen.why.code}): going by DescribeSnapshots alone. Grant "
            f"{' and '.join(actions.policy_names('DescribeDisks'))} so that a wrong account is "
            "noticed"
        )
        return Silence(silent)
    shown = {fact.disk_id for fact in seen.facts}
    blind = seen.why if isinstance(seen, Part) else None
    return Silence(silent, {d: blind or unseen(d, region) for d in wanted if d not in shown})


def unseen(disk_id: str, region: str) -> Unanswered:
    """Why silence about a disk that is not seen itself proves nothing."""
    return Unanswered(
        False,
        UNSEEN,
        f"this credential sees no {disk_id} in {region}, so its silence about snapshots proves "
        "nothing: check the account and the region; if the disk is deleted, take its row out of "
        "the manifest",
    )


async def _asked(
    account: Account, region: str, listing: Listing[_Item], body: Body
) -> Answer[_Item]:
    """Walk all pages, again where the list was short: it may have changed on the way."""
    found: dict[str, _Item] = {}
    walks = 0
    while True:
        pages: _Pages[_Item] = _Pages()
        why = await _walk(account, region, listing, body, pages)
        if why is None:
            return Whole(tuple(pages.items.values()))
        found |= pages.items
        walks += 1
        if why.code != SHORT or walks == _WALKS:
            return Part(tuple(found.values()), why)


class _Pages(Generic[_Item]):
    """The pages of one walk. Each begins with the last item of the one before it, or items moved
    between the two and one of them was perhaps shown by neither."""

    def __init__(self) -> None:
        self.items: dict[str, _Item] = {}  # by their ids
        self.total = 0  # the largest that any page told
        self._last = ""

    def offsets(self) -> Iterator[int]:
        """Where each page begins, until the walk is over."""
        for number in range(_PAGES_MAX):
            offset = number * (_PAGE - 1)
            if number and offset + 1 >= self.total:
                return
            yield offset

    def take(self, total: int, page: dict[str, _Item]) -> bool:
        """Add a page; False where the list moved since the one before."""
        self.total = max(self.total, total)
        moved = bool(self._last) and self._last not in page
        self.items |= page
        self._last = next(reversed(page), "")
        return not moved

    @property
    def short(self) -> bool:
        return len(self.items) < self.total


async def _walk(
    account: Account, region: str, listing: Listing[_Item], body: Body, pages: _Pages[_Item]
) -> Unanswered | None:
    """Ask for each page in turn; why that was not the whole list, or None."""
    action = listing.action
    for offset in pages.offsets():
        try:
            ruling = await account.read(action, region, body(offset=offset, limit=_PAGE))
        except CredentialsError as error:
            return Unanswered(True, "credentials", str(error))
        if ruling.kind != "ok":
            return Unanswered(ruling.kind == "denied", ruling.code, ruling.message)
        page = listing.page(ruling.response)
        if page is None:
            return Unanswered(False, "reply.shape", f"{action} answered in an unknown shape")
        if not pages.take(*page):
            return Unanswered(False, SHORT, f"the list of {action} changed from page to page")
    if pages.short:
        what = f"{action} counts {pages.total} and shows {len(pages.items)}"
        return Unanswered(False, SHORT, what)
    return None
