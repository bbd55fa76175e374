"""The API's calls: body bytes out, reply values in. Never an unknown key, never a raise.

Source: the pages of CreateSnapshot, CopySnapshotCrossRegions, DescribeSnapshots, DescribeDisks,
DescribeDiskBackups and DeleteSnapshots, version 2017-03-12, and the per-second figures of the API
category page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import orjson

from batchsnap.model import PlannedRequest

VERSION = "2017-03-12"
CREATE = "CreateSnapshot"
COPY = "CopySnapshotCrossRegions"
MAKERS = frozenset({CREATE, COPY})
"""The calls that make a snapshot: of a row each, at the pace that the user chose."""
RATES = {
    CREATE: 20,
    COPY: 20,
    "DeleteSnapshots": 20,
    "DescribeSnapshots": 20,
    "DescribeDisks": 100,
    "DescribeDiskBackups": 20,
}
"""Published calls a second; each action has its own bucket."""
_POLICY_PREFIXES = ("cvm", "cbs")
"""The vendor's page authorises disks and snapshots under the prefix of its virtual machines,
policies of other tools say `cbs:`. Nobody has to find out which one works who grants both."""
_COPIED = "Success"  # the Code of a destination that took the order
SYSTEM_DISK, DATA_DISK = "SYSTEM_DISK", "DATA_DISK"  # DiskUsage
PAGE_MAX = 100
FILTER_MAX = 10  # values of the disk-id filter of DescribeSnapshots; no more of any other

Filter = tuple[str, Sequence[str]]
_Fact = TypeVar("_Fact")


def policy_names(*names: str) -> list[str]:
    """What an access policy must allow for these actions, under every prefix that is in use."""
    return [f"{prefix}:{name}" for prefix in _POLICY_PREFIXES for name in names]


class SnapshotFact(NamedTuple):
    """A snapshot as DescribeSnapshots shows it."""

    snapshot_id: str
    name: str
    disk_id: str
    state: str  # NORMAL, CREATING, ROLLBACKING, COPYING_FROM_REMOTE, CHECKING_COPIED, TORECYCLE
    percent: int  # where the cloud tells none: 100 for NORMAL, else 0
    usage: str = ""  # SYSTEM_DISK or DATA_DISK: only the latter becomes a disk
    size_gib: int = 0  # of its disk
    create_time: str = ""  # YYYY-MM-DD HH:MM:SS, without a zone


class Creation(NamedTuple):
    """What a reply says of the snapshot that was asked for: its id, or why there is none."""

    snapshot_id: str
    code: str  # the cloud's own, or `reply.<flaw>`; "" where it was made
    message: str


class DiskFact(NamedTuple):
    """A disk as DescribeDisks shows it."""

    disk_id: str
    name: str
    usage: str  # SYSTEM_DISK or DATA_DISK
    state: str  # UNATTACHED, ATTACHED, EXPANDING, ROLLBACKING, TORECYCLE, …
    snapshot_ability: bool  # False only where the cloud says so
    instance_id: str
    zone: str
    region: str  # of the zone
    project_id: int
    tags: tuple[tuple[str, str], ...]
    size_gib: int
    snapshot_count: int
    migrating: bool
    rollbacking: bool
    shareable: bool
    encrypt: bool
    attached: bool
    disk_type: str  # CLOUD_PREMIUM, CLOUD_SSD, …


class BackupFact(NamedTuple):
    """A backup point as DescribeDiskBackups shows it."""

    backup_id: str
    disk_id: str
    state: str  # NORMAL, CREATING, ROLLBACKING


def create_snapshot(request: PlannedRequest) -> bytes:
    """The body of CreateSnapshot."""
    body: dict[str, Any] = {}
    if request.disk_id:
        body["DiskId"] = request.disk_id
    if request.disk_backup_id:
        body["DiskBackupId"] = request.disk_backup_id
    if request.name:
        body["SnapshotName"] = request.name
    if request.deadline:
        body["Deadline"] = request.deadline
    if request.disk_usage:
        body["DiskUsage"] = request.disk_usage
    if request.tags:
        body["Tags"] = [{"Key": key, "Value": value} for key, value in request.tags]
    return orjson.dumps(body)


def created(response: dict[str, Any]) -> Creation:
    """What a CreateSnapshot response says."""
    snapshot_id = _text(response, "SnapshotId")
    if snapshot_id:
        return Creation(snapshot_id, "", "")
    return Creation("", "reply.no_snapshot_id", "the Response has no SnapshotId")


def copy_snapshot(snapshot_id: str, *, name: str, to: str) -> bytes:
    """The body of CopySnapshotCrossRegions, of one destination: an answer for several could not be
    one outcome."""
    return orjson.dumps(
        {"SnapshotId": snapshot_id, "SnapshotName": name, "DestinationRegions": [to]}
    )


def copied(response: dict[str, Any], to: str) -> Creation:
    """What a CopySnapshotCrossRegions response says of a destination: a refusal lies inside a
    success."""
    items = response.get("SnapshotCopyResultSet")
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict) or item.get("DestinationRegion") != to:
            continue
        snapshot_id, code = _text(item, "SnapshotId"), _text(item, "Code")
        if code not in {"", _COPIED}:
            return Creation(snapshot_id, code, _text(item, "Message"))
        if code and snapshot_id:
            return Creation(snapshot_id, "", "")
    return Creation("", "reply.no_copy", f"the Response tells of no copy in {to}")


def describe_snapshots(
    *,
    disk_ids: Sequence[str] = (),
    names: Sequence[str] = (),
    snapshot_ids: Sequence[str] = (),
    offset: int = 0,
    limit: int = PAGE_MAX,
) -> bytes:
    """By disk or by name (at most ten, private snapshots only) or by snapshot id (at most a page).

    Raises:
        ValueError: not just one of these ways, or more values than a filter takes.
    """
    if sum(map(bool, (disk_ids, names, snapshot_ids))) != 1:
        raise ValueError("ask by disks, by names or by snapshots")
    if len(disk_ids) > FILTER_MAX or len(names) > FILTER_MAX:
        raise ValueError(f"a filter takes {FILTER_MAX} disks or names")
    body: dict[str, Any] = {
        "Offset": offset,
        "Limit": limit,
        "OrderField": "CREATE_TIME",
        "Order": "ASC",
    }
    if snapshot_ids:
        body["SnapshotIds"] = list(snapshot_ids)
    else:
        which = ("disk-id", disk_ids) if disk_ids else ("snapshot-name", names)
        body["Filters"] = _filters([which, ("snapshot-type", ["PRIVATE_SNAPSHOT"])])
    return orjson.dumps(body)


def describe_disks(
    *,
    disk_ids: Sequence[str] = (),
    filters: Sequence[Filter] = (),
    offset: int = 0,
    limit: int = PAGE_MAX,
) -> bytes:
    """By id (at most a page), by filters, or all.

    Raises:
        ValueError: ids and filters at once, which the API refuses.
    """
    if disk_ids and filters:
        raise ValueError("ask by ids or by filters")
    body: dict[str, Any] = {"Offset": offset, "Limit": limit}
    if disk_ids:
        body["DiskIds"] = list(disk_ids)
    elif filters:
        body["Filters"] = _filters(filters)
    return orjson.dumps(body)


def describe_disk_backups(
    *, backup_ids: Sequence[str], offset: int = 0, limit: int = PAGE_MAX
) -> bytes:
    """By id (at most a page)."""
    return orjson.dumps({"Offset": offset, "Limit": limit, "DiskBackupIds": list(backup_ids)})


def delete_snapshots(snapshot_ids: Sequence[str]) -> bytes:
    """The body of DeleteSnapshots; the cloud deletes all of them or none."""
    return orjson.dumps({"SnapshotIds": list(snapshot_ids)})


def _filters(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": list(values)} for name, values in filters]


def snapshot_page(response: dict[str, Any]) -> tuple[int, list[SnapshotFact]] | None:
    """(TotalCount, facts) of a DescribeSnapshots response, None where its shape is unknown."""
    return _page(
        response,
        "SnapshotSet",
        "SnapshotId",
        lambda item: SnapshotFact(
            snapshot_id=_text(item, "SnapshotId"),
            name=_text(item, "SnapshotName"),
            disk_id=_text(item, "DiskId"),
            state=_text(item, "SnapshotState"),
            percent=_percent(item),
            usage=_text(item, "DiskUsage"),
            size_gib=_number(item, "DiskSize"),
            create_time=_text(item, "CreateTime"),
        ),
    )


def disk_page(response: dict[str, Any]) -> tuple[int, list[DiskFact]] | None:
    """(TotalCount, facts) of a DescribeDisks response, None where its shape is unknown."""
    return _page(
        response,
        "DiskSet",
        "DiskId",
        lambda item: DiskFact(
            disk_id=_text(item, "DiskId"),
            name=_text(item, "DiskName"),
            usage=_text(item, "DiskUsage"),
            state=_text(item, "DiskState"),
            snapshot_ability=item.get("SnapshotAbility") is not False,
            instance_id=_text(item, "InstanceId"),
            zone=_text(_object(item, "Placement"), "Zone"),
            region=region_of_zone(_text(_object(item, "Placement"), "Zone")),
            project_id=_number(_object(item, "Placement"), "ProjectId"),
            tags=_tags(item.get("Tags")),
            size_gib=_number(item, "DiskSize"),
            snapshot_count=_number(item, "SnapshotCount"),
            migrating=item.get("Migrating") is True,
            rollbacking=item.get("Rollbacking") is True,
            shareable=item.get("Shareable") is True,
            encrypt=item.get("Encrypt") is True,
            attached=item.get("Attached") is True,
            disk_type=_text(item, "DiskType"),
        ),
    )


def backup_page(response: dict[str, Any]) -> tuple[int, list[BackupFact]] | None:
    """(TotalCount, facts) of a DescribeDiskBackups response, None where its shape is unknown."""
    return _page(
        response,
        "DiskBackupSet",
        "DiskBackupId",
        lambda item: BackupFact(
            backup_id=_text(item, "DiskBackupId"),
            disk_id=_text(item, "DiskId"),
            state=_text(item, "DiskBackupState"),
        ),
    )


def region_of_zone(zone: str) -> str:
    """`ap-guangzhou` of `ap-guangzhou-3`."""
    region, dash, number = zone.rpartition("-")
    return region if dash and number.isdigit() else zone


def _page(
    response: dict[str, Any], name: str, identity: str, fact: Callable[[dict[str, Any]], _Fact]
) -> tuple[int, list[_Fact]] | None:
    # A list that is half understood must not pass for proof that a snapshot is absent.
    items, total = response.get(name), response.get("TotalCount")
    if items is None and total == 0:
        items = []
    if not isinstance(items, list) or not isinstance(total, int) or isinstance(total, bool):
        return None
    if total < 0:
        return None
    if not all(isinstance(item, dict) and _text(item, identity) for item in items):
        return None
    return total, [fact(item) for item in items]


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _number(item: dict[str, Any], name: str) -> int:
    value = item.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _percent(item: dict[str, Any]) -> int:
    whole = 100 if item.get("SnapshotState") == "NORMAL" else 0
    return whole if item.get("Percent") is None else _number(item, "Percent")


def _tags(value: object) -> tuple[tuple[str, str], ...]:
    tags = value if isinstance(value, list) else []
    tags = [tag for tag in tags if isinstance(tag, dict) and _text(tag, "Key")]
    return tuple((tag["Key"], _text(tag, "Value")) for tag in tags)


def _object(item: dict[str, Any], name: str) -> dict[str, Any]:
    value = item.get(name)
    return value if isinstance(value, dict) else {}
