"""Owns the things of this cloud, disks, backup points and snapshots, and how the API prints them.

Field names are those of the product's API 2017-03-12 (DescribeDisks, DescribeDiskBackups,
DescribeSnapshots). What a test doesn't choose is made up from the seed and the id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from batchsnap.simulator.outcomes import chance, pick, word

_SHANGHAI = timezone(timedelta(hours=8))
_EPOCH_S = 1_700_000_000  # disks are older than any run
_YEAR_S = 365 * 86400
_CHECKED_FROM = 90  # percent of a copy's time, from which on it is checked
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


def placement(zone: str) -> dict[str, Any]:
    """The API's Placement."""
    return {
        "Zone": zone,
        "CageId": None,
        "CdcId": None,
        "CdcName": None,
        "DedicatedClusterId": None,
        "ProjectId": 0,
        "ProjectName": "",
    }


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
            "Placement": placement(self.zone),
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
    """A snapshot, or a copy of one in another region. Times are seconds of the simulator's own
    clock."""

    snapshot_id: str
    name: str
    disk: Disk
    asked_usage: str  # "" for the disk's own
    deadline: str  # "" for permanent
    tags: tuple[tuple[str, str], ...]
    made_at: float
    ready_at: float  # CREATING or being copied before, NORMAL from then on
    server_time: float  # Unix seconds by the server's clock, for CreateTime
    vanishes: bool = False  # its creation fails: at ready_at it is gone
    alive: bool = True
    source: StoredSnapshot | None = None  # of a copy
    copied_to: str = ""  # the region of a copy
    copies: list[StoredSnapshot] = field(default_factory=list)  # without deleted ones

    @property
    def region(self) -> str:
        """Where it is."""
        return self.copied_to or self.disk.region

    @property
    def zone(self) -> str:
        """Where its disk is; a copy has none there, and is in the region's first zone."""
        return f"{self.copied_to}-1" if self.copied_to else self.disk.zone

    @property
    def disk_id(self) -> str:
        """The DiskId that is shown. What a copy shows is not documented: half of them show their
        source's disk, and half none, so that no client relies on either."""
        shown = self.source is None or chance(self.disk.seed, "copy", self.snapshot_id) < 0.5
        return self.disk.disk_id if shown else ""

    def copying_to(self, now: float) -> list[str]:
        """The regions to which it is being copied."""
        return [copy.region for copy in self.copies if copy.alive and now < copy.ready_at]

    @property
    def usage(self) -> str:
        """SYSTEM_DISK or DATA_DISK."""
        return self.asked_usage or self.disk.usage

    def state(self, now: float) -> str:
        """CREATING, of a copy COPYING_FROM_REMOTE and then CHECKING_COPIED, and NORMAL."""
        if now >= self.ready_at:
            return "NORMAL"
        if self.source is None:
            return "CREATING"
        return "COPYING_FROM_REMOTE" if self.percent(now) < _CHECKED_FROM else "CHECKING_COPIED"

    def percent(self, now: float) -> int:
        """0 to 99 until it is NORMAL, then 100."""
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
            "DiskId": self.disk_id,
            "DiskUsage": self.usage,
            "DiskSize": self.disk.size_gib,
            "Placement": placement(self.zone),
            "CreateTime": wall(self.server_time),
            "LatestModifyTime": wall(self.server_time),
            "DeadlineTime": self.deadline or None,
            "IsPermanent": not self.deadline,
            "SnapshotType": "PRIVATE_SNAPSHOT",
            "SnapshotMode": "STANDARD_SNAPSHOT",
            "AutoSnapshotPolicyId": "",
            "IsLocked": False,
            "Encrypt": False,
            "CopyFromRemote": self.source is not None,
            "CopyingToRegions": self.copying_to(now),
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
            "region": self.region,
            "source_id": self.source.snapshot_id if self.source else "",
            "usage": self.usage,
            "name": self.name,
            "state": self.state(now),
            "made_at": self.made_at,
            "deadline": self.deadline,
            "tags": dict(self.tags),
        }
