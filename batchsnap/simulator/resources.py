"""Owns the things of this cloud, disks, backup points and snapshots, and how the API prints them.

Field names are those of the product's API 2017-03-12 (DescribeDisks, DescribeDiskBackups,
DescribeSnapshots). What a test doesn't choose is made up from the seed and the id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from batchsnap.simulator.outcomes import chance, pick, word

_SHANGHAI = timezone(timedelta(hours=8))
_EPOCH_S = 1_700_000_000  # disks are older than any run
_YEAR_S = 365 * 86400
_SIZES_GIB = ("50", "100", "200", "500")
_TYPES = ("CLOUD_PREMIUM", "CLOUD_BSSD", "CLOUD_SSD", "CLOUD_HSSD")


def wall(at: float) -> str:
    """`YYYY-MM-DD HH:MM:SS`, Shanghai time and no zone, as in recorded replies of the cloud."""
    return datetime.fromtimestamp(at, _SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def iso(at: float) -> str:
    """`YYYY-MM-DDTHH:MM:SS+00:00`, the form of backup points and deadlines."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def sample_fleet(
    size: int, regions: tuple[str, ...] = ("ap-guangzhou",), seed: int = 0
) -> Iterator[tuple[str, str]]:
    """`size` made-up (disk id, region), the regions in turn."""
    for n in range(size):
        yield f"disk-{word(seed, 'fleet', n)}", regions[n % len(regions)]


@dataclass(slots=True, eq=False)
class Disk:
    """A disk. Its looks follow from the seed and its id."""

    disk_id: str
    region: str
    seed: int

    @property
    def usage(self) -> str:
        """DATA_DISK, or for one disk in four SYSTEM_DISK."""
        return pick(("DATA_DISK", "DATA_DISK", "DATA_DISK", "SYSTEM_DISK"), *self._labels("use"))

    @property
    def size_gib(self) -> int:
        """GiB."""
        return int(pick(_SIZES_GIB, *self._labels("size")))

    @property
    def zone(self) -> str:
        """One of the region's first four zones."""
        return f"{self.region}-{pick(('1', '2', '3', '4'), *self._labels('zone'))}"

    @property
    def placement(self) -> dict[str, Any]:
        """The API's Placement."""
        return {
            "Zone": self.zone,
            "CageId": None,
            "CdcId": None,
            "CdcName": None,
            "DedicatedClusterId": None,
            "ProjectId": 0,
            "ProjectName": "",
        }

    def _labels(self, what: str) -> tuple[object, ...]:
        return (self.seed, "disk", what, self.disk_id)

    def to_api(self, snapshots: int) -> dict[str, Any]:
        """An item of DiskSet; `snapshots` is how many the disk has."""
        attached = chance(*self._labels("attached")) < 0.9
        instance = f"ins-{word(*self._labels('instance'))}" if attached else ""
        created = _EPOCH_S - chance(*self._labels("age")) * _YEAR_S
        return {
            "DiskId": self.disk_id,
            "DiskName": f"sim-{self.disk_id[-8:]}",
            "DiskUsage": self.usage,
            "DiskType": pick(_TYPES, *self._labels("type")),
            "DiskSize": self.size_gib,
            "DiskState": "ATTACHED" if attached else "UNATTACHED",
            "DiskChargeType": "POSTPAID_BY_HOUR",
            "SnapshotAbility": True,
            "SnapshotCount": snapshots,
            "SnapshotSize": snapshots * self.size_gib * 64,
            "Attached": attached,
            "InstanceId": instance,
            "InstanceIdList": [instance] if instance else [],
            "InstanceType": "CVM" if attached else "",
            "AttachMode": "PF",
            "LastAttachInsId": instance,
            "Portable": self.usage == "DATA_DISK",
            "Shareable": False,
            "Encrypt": False,
            "EncryptType": "",
            "KmsKeyId": "",
            "ErrorPrompt": "",
            "Migrating": False,
            "MigratePercent": 0,
            "Rollbacking": False,
            "RollbackPercent": 100,
            "BackupDisk": True,
            "DiskBackupQuota": 1,
            "DiskBackupCount": 0,
            "Placement": self.placement,
            "Tags": [
                {"Key": "env", "Value": pick(("prod", "prod", "test"), *self._labels("env"))},
                {"Key": "team", "Value": pick(("shop", "search", "ops"), *self._labels("team"))},
            ],
            "CreateTime": wall(created),
            "DeadlineTime": None,
            "AutoSnapshotPolicyIds": None,
            "DeleteWithInstance": self.usage == "SYSTEM_DISK",
            "DeleteSnapshot": 0,
            "RenewFlag": "NOTIFY_AND_MANUAL_RENEW",
            "AutoRenewFlagError": False,
            "DeadlineError": False,
            "DifferDaysOfDeadline": 0,
            "IsReturnable": False,
            "ReturnFailCode": 0,
            "ThroughputPerformance": 0,
            "BurstPerformance": False,
        }


@dataclass(slots=True, eq=False)
class Backup:
    """A backup point: one state of a data disk, used up when a snapshot is made of it."""

    backup_id: str
    disk: Disk

    def to_api(self) -> dict[str, Any]:
        """An item of DiskBackupSet."""
        return {
            "DiskBackupId": self.backup_id,
            "DiskBackupName": f"sim-{self.backup_id[-8:]}",
            "DiskId": self.disk.disk_id,
            "DiskSize": self.disk.size_gib,
            "DiskUsage": "DATA_DISK",
            "DiskBackupState": "NORMAL",
            "Percent": 100,
            "CreateTime": iso(_EPOCH_S),
            "Encrypt": False,
        }


@dataclass(slots=True, eq=False)
class StoredSnapshot:
    """A snapshot. Times are seconds of the simulator's own clock."""

    snapshot_id: str
    name: str
    disk: Disk
    asked_usage: str  # "" for the disk's own
    deadline: str  # "" for permanent
    tags: tuple[tuple[str, str], ...]
    made_at: float
    ready_at: float  # CREATING before, NORMAL from then on
    server_time: float  # Unix seconds by the server's clock, for CreateTime
    vanishes: bool = False  # its creation fails: at ready_at it is gone
    alive: bool = True

    @property
    def usage(self) -> str:
        """SYSTEM_DISK or DATA_DISK."""
        return self.asked_usage or self.disk.usage

    def state(self, now: float) -> str:
        """CREATING or NORMAL."""
        return "NORMAL" if now >= self.ready_at else "CREATING"

    def percent(self, now: float) -> int:
        """0 to 99 while CREATING, 100 when NORMAL."""
        if now >= self.ready_at:
            return 100
        return int(99 * (now - self.made_at) / (self.ready_at - self.made_at))

    def to_api(self, now: float) -> dict[str, Any]:
        """An item of SnapshotSet."""
        return {
            "SnapshotId": self.snapshot_id,
            "SnapshotName": self.name,
            "SnapshotState": self.state(now),
            "Percent": self.percent(now),
            "DiskId": self.disk.disk_id,
            "DiskUsage": self.usage,
            "DiskSize": self.disk.size_gib,
            "Placement": self.disk.placement,
            "CreateTime": wall(self.server_time),
            "LatestModifyTime": wall(self.server_time),
            "DeadlineTime": self.deadline or None,
            "IsPermanent": not self.deadline,
            "SnapshotType": "PRIVATE_SNAPSHOT",
            "SnapshotMode": "STANDARD_SNAPSHOT",
            "AutoSnapshotPolicyId": "",
            "IsLocked": False,
            "Encrypt": False,
            "CopyFromRemote": False,
            "CopyingToRegions": [],
            "Images": [],
            "ImageCount": 0,
            "ShareReference": 0,
            "TimeStartShare": None,
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags],
        }

    def to_json(self, now: float) -> dict[str, Any]:
        """The form of `/_sim/state`."""
        return {
            "snapshot_id": self.snapshot_id,
            "disk_id": self.disk.disk_id,
            "region": self.disk.region,
            "name": self.name,
            "state": self.state(now),
            "made_at": self.made_at,
            "deadline": self.deadline,
            "tags": dict(self.tags),
        }
