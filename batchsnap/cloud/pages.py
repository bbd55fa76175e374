"""What the cloud's lists show: a page of snapshots, disks or backup points -> facts.

Source: the pages of DescribeSnapshots, DescribeDisks and DescribeDiskBackups, version 2017-03-12.
Never a raise: a page of another shape is None, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from batchsnap.cloud.actions import text_of

_Fact = TypeVar("_Fact")


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


class DiskFact(NamedTuple):
    """A disk as DescribeDisks shows it."""

    disk_id: str
    name: str
    usage: str  # SYSTEM_DISK or DATA_DISK
    state: str  # UNATTACHED, ATTACHED, EXPANDING, ROLLBACKING, TORECYCLE, …
    snapshot_ability: bool  # False only where the cloud says so
    instance_id: str
    zone: str
    size_gib: int
    snapshot_count: int
    migrating: bool
    rollbacking: bool
    shareable: bool
    attached: bool
    disk_type: str  # CLOUD_PREMIUM, CLOUD_SSD, …


class BackupFact(NamedTuple):
    """A backup point as DescribeDiskBackups shows it."""

    backup_id: str
    disk_id: str
    state: str  # NORMAL, CREATING, ROLLBACKING


def _snapshot(item: dict[str, Any]) -> SnapshotFact:
    return SnapshotFact(
        snapshot_id=text_of(item, "SnapshotId"),
        name=text_of(item, "SnapshotName"),
        disk_id=text_of(item, "DiskId"),
        state=text_of(item, "SnapshotState"),
        percent=_percent(item),
        usage=text_of(item, "DiskUsage"),
        size_gib=_number(item, "DiskSize"),
        create_time=text_of(item, "CreateTime"),
    )


def _disk(item: dict[str, Any]) -> DiskFact:
    zone = text_of(_object(item, "Placement"), "Zone")
    return DiskFact(
        disk_id=text_of(item, "DiskId"),
        name=text_of(item, "DiskName"),
        usage=text_of(item, "DiskUsage"),
        state=text_of(item, "DiskState"),
        snapshot_ability=item.get("SnapshotAbility") is not False,
        instance_id=text_of(item, "InstanceId"),
        zone=zone,
        size_gib=_number(item, "DiskSize"),
        snapshot_count=_number(item, "SnapshotCount"),
        migrating=item.get("Migrating") is True,
        rollbacking=item.get("Rollbacking") is True,
        shareable=item.get("Shareable") is True,
        attached=item.get("Attached") is True,
        disk_type=text_of(item, "DiskType"),
    )


def _backup(item: dict[str, Any]) -> BackupFact:
    return BackupFact(
        backup_id=text_of(item, "DiskBackupId"),
        disk_id=text_of(item, "DiskId"),
        state=text_of(item, "DiskBackupState"),
    )


@dataclass(frozen=True, slots=True)
class Listing(Generic[_Fact]):
    """A list of the cloud's: the call that shows a page of it, and how that is read."""

    action: str
    name: str  # of the list, in a response
    identity: str  # the name of an item's id
    fact: Callable[[dict[str, Any]], _Fact]

    def page(self, response: dict[str, Any]) -> tuple[int, dict[str, _Fact]] | None:
        """(TotalCount, facts by their ids) of a response, None where its shape is unknown."""
        # A list that is half understood must not pass for proof that a snapshot is absent.
        items, total = response.get(self.name), response.get("TotalCount")
        if items is None and total == 0:
            items = []
        if not isinstance(items, list) or not isinstance(total, int) or isinstance(total, bool):
            return None
        if total < 0:
            return None
        if not all(isinstance(item, dict) and text_of(item, self.identity) for item in items):
            return None
        return total, {item[self.identity]: self.fact(item) for item in items}


SNAPSHOTS = Listing("DescribeSnapshots", "SnapshotSet", "SnapshotId", _snapshot)
DISKS = Listing("DescribeDisks", "DiskSet", "DiskId", _disk)
BACKUPS = Listing("DescribeDiskBackups", "DiskBackupSet", "DiskBackupId", _backup)


def _number(item: dict[str, Any], name: str) -> int:
    value = item.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _percent(item: dict[str, Any]) -> int:
    whole = 100 if item.get("SnapshotState") == "NORMAL" else 0
    return whole if item.get("Percent") is None else _number(item, "Percent")


def _object(item: dict[str, Any], name: str) -> dict[str, Any]:
    value = item.get(name)
    return value if isinstance(value, dict) else {}
