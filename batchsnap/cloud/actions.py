"""The API's calls: body bytes out, and what the reply to a call that makes something says. Never
an unknown key, never a raise.

Source: the pages of CreateSnapshot, CopySnapshotCrossRegions, DescribeSnapshots, DescribeDisks,
DescribeDiskBackups and DeleteSnapshots, version 2017-03-12, and the per-second figures of the API
category page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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


def policy_names(*names: str) -> list[str]:
    """What an access policy must allow for these actions, under every prefix that is in use."""
    return [f"{prefix}:{name}" for prefix in _POLICY_PREFIXES for name in names]


class Creation(NamedTuple):
    """What a reply says of the snapshot that was asked for: its id, or why there is none."""

    snapshot_id: str
    code: str  # the cloud's own, or `reply.<flaw>`; "" where it was made
    message: str


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
    snapshot_id = text_of(response, "SnapshotId")
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
        snapshot_id, code = text_of(item, "SnapshotId"), text_of(item, "Code")
        if code not in {"", _COPIED}:
            return Creation(snapshot_id, code, text_of(item, "Message"))
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


def text_of(item: dict[str, Any], name: str) -> str:
    """A field of a reply that should be text; "" where it is none."""
    value = item.get(name)
    return value if isinstance(value, str) else ""
