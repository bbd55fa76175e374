"""Questions to the cloud, paged; each is answered whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from batchsnap.cloud import actions
from batchsnap.engine.access import Access
from batchsnap.errors import CredentialsError

DISKS_A_QUESTION = 10  # the disk-id filter takes no more values (DescribeSnapshots page)
_PAGE = 100
_PAGES_MAX = 10_000
_Item = TypeVar("_Item")


class Unanswered(NamedTuple):
    """No answer. `denied`: asking again will not help."""

    denied: bool
    code: str
    message: str


async def snapshots_on(
    access: Access, region: str, disk_ids: Sequence[str]
) -> list[actions.SnapshotFact] | Unanswered:
    """All private snapshots of up to ten disks, oldest first, each once."""
    return await _pages(
        access,
        "DescribeSnapshots",
        region,
        body=lambda offset: actions.describe_snapshots(
            disk_ids=disk_ids, offset=offset, limit=_PAGE
        ),
        parse=actions.snapshot_page,
        identity=lambda fact: fact.snapshot_id,
    )


async def snapshots_by_id(
    access: Access, region: str, snapshot_ids: Sequence[str]
) -> list[actions.SnapshotFact] | Unanswered:
    """The snapshots of up to 100 ids that exist. Where the cloud refuses the whole question for
    one unknown id, halves are asked about."""
    answer = await _pages(
        access,
        "DescribeSnapshots",
        region,
        body=lambda offset: actions.describe_snapshots(
            snapshot_ids=snapshot_ids, offset=offset, limit=_PAGE
        ),
        parse=actions.snapshot_page,
        identity=lambda fact: fact.snapshot_id,
    )
    if not isinstance(answer, Unanswered) or "NotFound" not in answer.code:
        return answer
    if len(snapshot_ids) == 1:
        return []
    half = len(snapshot_ids) // 2
    first = await snapshots_by_id(access, region, snapshot_ids[:half])
    second = await snapshots_by_id(access, region, snapshot_ids[half:])
    if isinstance(first, Unanswered):
        return first
    return second if isinstance(second, Unanswered) else first + second


async def disks(
    access: Access, region: str, disk_ids: Sequence[str]
) -> list[actions.DiskFact] | Unanswered:
    """The disks of up to 100 ids that this credential can see."""
    return await _pages(
        access,
        "DescribeDisks",
        region,
        body=lambda offset: actions.describe_disks(disk_ids=disk_ids, offset=offset, limit=_PAGE),
        parse=actions.disk_page,
        identity=lambda fact: fact.disk_id,
    )


async def unseen_disks(
    access: Access, region: str, disk_ids: Iterable[str], say: Callable[[str], None]
) -> set[str] | Unanswered:
    """Those of up to 100 disks that this credential can't see: that it sees no snapshot of them
    proves nothing. None of them where the policy forbids the question, which is said once."""
    asked = set(disk_ids) - {""}
    if not asked or access.disks_denied:
        return set()
    seen = await disks(access, region, sorted(asked))
    if not isinstance(seen, Unanswered):
        return asked - {fact.disk_id for fact in seen}
    if not seen.denied:
        return seen
    access.disks_denied = True
    say(
        f"DescribeDisks is denied ({seen.code}): going by DescribeSnapshots alone. Grant "
        f"{' and '.join(actions.policy_names('DescribeDisks'))} so that a wrong account is noticed"
    )
    return set()


async def disks_like(
    access: Access, region: str, filters: Sequence[actions.Filter]
) -> list[actions.DiskFact] | Unanswered:
    """All disks that pass the filters."""
    return await _pages(
        access,
        "DescribeDisks",
        region,
        body=lambda offset: actions.describe_disks(filters=filters, offset=offset, limit=_PAGE),
        parse=actions.disk_page,
        identity=lambda fact: fact.disk_id,
    )


async def backups(
    access: Access, region: str, backup_ids: Sequence[str]
) -> list[actions.BackupFact] | Unanswered:
    """The backup points of up to 100 ids that exist."""
    return await _pages(
        access,
        "DescribeDiskBackups",
        region,
        body=lambda offset: actions.describe_disk_backups(
            backup_ids=backup_ids, offset=offset, limit=_PAGE
        ),
        parse=actions.backup_page,
        identity=lambda fact: fact.backup_id,
    )


async def _pages(
    access: Access,
    action: str,
    region: str,
    *,
    body: Callable[[int], bytes],
    parse: Callable[[dict[str, object]], tuple[int, list[_Item]] | None],
    identity: Callable[[_Item], str],
) -> list[_Item] | Unanswered:
    """Walk all pages. The list may change meanwhile, so items are told apart by identity."""
    found: dict[str, _Item] = {}
    offset = 0
    for _ in range(_PAGES_MAX):
        try:
            ruling = await access.read(action, region, body(offset))
        except CredentialsError as error:
            return Unanswered(True, "credentials", str(error))
        if ruling.kind != "ok":
            return Unanswered(ruling.kind == "denied", ruling.code, ruling.message)
        page = parse(ruling.response)
        if page is None:
            return Unanswered(False, "reply.shape", f"{action} answered in an unknown shape")
        total, items = page
        found.update((identity(item), item) for item in items)
        offset += _PAGE
        if offset >= total:
            return list(found.values())
        if not items:
            return Unanswered(False, "reply.short", f"{action} counts {total} and shows less")
    return Unanswered(False, "reply.endless", f"{action} has more than {_PAGES_MAX} pages")
