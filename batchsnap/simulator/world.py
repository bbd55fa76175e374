"""Owns what exists in this cloud, and the six actions on it. Time is passed in, never read.

Indexed by id, by disk and by region, so that 100,000 snapshots cost no walk of them all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from batchsnap.simulator import requests
from batchsnap.simulator.inventory import Inventory
from batchsnap.simulator.outcomes import chance, word
from batchsnap.simulator.requests import Refused
from batchsnap.simulator.resources import Backup, Disk, StoredSnapshot
from batchsnap.simulator.scenario import Scenario

_QUOTA_USED_UP = "The region's snapshot quota is used up."


class World:
    """Disks, backup points and snapshots of one account.

    `now` is Unix seconds and never goes back. Every action raises Refused where the cloud
    would answer with an error.
    """

    def __init__(self, scenario: Scenario, fleet: Iterable[tuple[str, str]] | None = None) -> None:
        self.scenario = scenario
        self.created = 0
        self.deleted = 0
        self.vanished = 0
        self.inventory = Inventory(scenario, fleet)
        self._by_id: dict[str, StoredSnapshot] = {}
        self._by_disk: dict[tuple[str, str], list[StoredSnapshot]] = {}  # (region, disk id)
        self._by_region: dict[str, list[StoredSnapshot]] = defaultdict(
            list
        )  # oldest first, may be dead
        self._dead: Counter[str] = Counter()  # how many dead ones a region's list holds
        self._alive: Counter[str] = Counter()
        self._creating: Counter[str] = Counter()
        self._ripening: list[tuple[float, str, StoredSnapshot]] = []  # heap by ready_at
        self._made: Counter[tuple[str, str]] = Counter()  # per (region, disk id), ever

    def follow(self, scenario: Scenario) -> None:
        """Go by another scenario from here on; what exists stays."""
        self.scenario = scenario
        self.inventory.follow(scenario)

    # The actions.

    def create(self, region: str, body: Mapping[str, Any], now: float) -> StoredSnapshot:
        """CreateSnapshot. One creation at a time per disk."""
        self._ripen(now)
        server_time = now + self.scenario.clock_offset_s
        tags = requests.check_create(body, server_time)
        disk_id, backup_id = body.get("DiskId", ""), body.get("DiskBackupId", "")
        backup = self.inventory.backup(region, backup_id, disk_id) if backup_id else None
        disk = backup.disk if backup else self.inventory.disk(region, disk_id)
        nth = self._made[region, disk.disk_id]
        siblings = self._by_disk.get((region, disk.disk_id), [])
        if siblings and siblings[-1].ready_at > now:
            raise Refused(
                "InvalidDisk.SnapshotCreating", "A snapshot of this disk is being created."
            )
        self._check_region(region)
        deadline = body.get("Deadline", "")
        snapshot = StoredSnapshot(
            snapshot_id=self._new_id(region, disk, nth),
            name=body.get("SnapshotName", "Unnamed"),
            disk=disk,
            asked_usage=body.get("DiskUsage", ""),
            deadline=deadline,
            tags=tags,
            made_at=now,
            ready_at=now + self.scenario.creating_s,
            server_time=server_time,
            vanishes=self._fails(region, disk, nth),
        )
        if backup:
            self.inventory.use_up(backup)
        self._add(region, snapshot)
        return snapshot

    def copy(self, region: str, body: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
        """CopySnapshotCrossRegions: an item of SnapshotCopyResultSet for each destination. One copy
        of a snapshot at a time to one region."""
        self._ripen(now)
        destinations = requests.check_copy(body, region)
        source = self._find(region, body["SnapshotId"])
        if source.state(now) != "NORMAL":
            raise Refused(
                "UnsupportedOperation.SnapshotNotSupportCopy", "Only NORMAL snapshots are copied."
            )
        if not set(destinations).isdisjoint(source.copying_to(now)):
            raise Refused(
                "ResourceInUse.CopySnapshotConflict", "The snapshot is being copied there already."
            )
        default = f"Copied {source.snapshot_id} from {region}"
        name = body.get("SnapshotName", default)
        return [self._copy(source, to, name, now) for to in destinations]

    def describe_snapshots(
        self, region: str, body: Mapping[str, Any], now: float
    ) -> dict[str, Any]:
        """DescribeSnapshots: `{TotalCount, SnapshotSet}`."""
        self._ripen(now)
        filters = requests.filters_of(body)
        things = [] if self.scenario.hides_snapshots else self._candidates(region, body, filters)
        things = requests.match_snapshots(things, filters, now)
        lag = self.scenario.visible_after_s
        if lag:
            # Oldest first, so the visible ones are the head of the list.
            things = things[: bisect_right(things, now - lag, key=lambda s: s.made_at)]
        total, items = requests.page(things, body, ("CREATE_TIME",), lambda s: s.to_api(now))
        return {"TotalCount": total, "SnapshotSet": items}

    def describe_disks(self, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeDisks: `{TotalCount, DiskSet}`. Named disks are made where any may exist."""
        filters = requests.filters_of(body)
        named = list(body.get("DiskIds", []))
        for name, values in filters:
            if name == "disk-id":
                named.extend(values)
        if named:
            disks = [
                d for d in (self.inventory.find_disk(region, i) for i in dict.fromkeys(named)) if d
            ]
        else:
            disks = self.inventory.disks(region)
        if filters:
            disks = [d for d in disks if requests.disk_passes(self._print(d), filters)]
        total, items = requests.page(disks, body, ("CREATE_TIME", "DEADLINE"), self._print)
        return {"TotalCount": total, "DiskSet": items}

    def describe_backups(self, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeDiskBackups: `{TotalCount, DiskBackupSet}`."""
        wanted = {name: set(values) for name, values in requests.filters_of(body)}
        if unknown := wanted.keys() - {"disk-backup-id", "disk-id", "disk-usage"}:
            raise Refused("InvalidParameterValue", f"There is no filter `{unknown.pop()}`.")
        ids = [*body.get("DiskBackupIds", []), *sorted(wanted.get("disk-backup-id", ()))]
        if ids:
            known = [self.inventory.find_backup(region, i) for i in dict.fromkeys(ids)]
            backups = [backup for backup in known if backup]
        else:
            backups = self.inventory.backups(region)
        fields = {"disk-id": "DiskId", "disk-usage": "DiskUsage"}
        for name, field in fields.items():
            if name in wanted:
                backups = [b for b in backups if b.to_api()[field] in wanted[name]]
        total, items = requests.page(backups, body, ("CREATE_TIME",), Backup.to_api)
        return {"TotalCount": total, "DiskBackupSet": items}

    def delete(self, region: str, body: Mapping[str, Any], now: float) -> None:
        """DeleteSnapshots: all of them or none, and only NORMAL ones."""
        self._ripen(now)
        ids = body.get("SnapshotIds", [])
        if not ids:
            raise Refused("MissingParameter", "`SnapshotIds` must be given.")
        found = []
        for snapshot_id in dict.fromkeys(ids):
            snapshot = self._find(region, snapshot_id)
            if snapshot.state(now) != "NORMAL" or snapshot.copying_to(now):
                raise Refused(
                    "InvalidSnapshot.NotSupported",
                    f"`{snapshot_id}` is still being created or copied.",
                )
            found.append(snapshot)
        for snapshot in found:
            self._remove(snapshot)
        self.deleted += len(found)

    # What tests ask.

    def snapshots(self, now: float) -> list[StoredSnapshot]:
        """Every living snapshot, oldest first within its region, whether yet visible or not."""
        self._ripen(now)
        return [s for things in self._by_region.values() for s in things if s.alive]

    # How it is done.

    def _ripen(self, now: float) -> None:
        while self._ripening and self._ripening[0][0] <= now:
            _, _, snapshot = heappop(self._ripening)
            self._creating[snapshot.region] -= 1
            if snapshot.vanishes:
                self._remove(snapshot)
                self.vanished += 1

    def _find(self, region: str, snapshot_id: str) -> StoredSnapshot:
        snapshot = self._by_id.get(snapshot_id)
        if snapshot is None or snapshot.region != region:
            raise Refused("InvalidSnapshotId.NotFound", f"There is no `{snapshot_id}`.")
        return snapshot

    def _copy(self, source: StoredSnapshot, to: str, name: str, now: float) -> dict[str, Any]:
        """One destination's part of the answer; its refusal lies inside a success."""
        item = {"DestinationRegion": to, "SnapshotId": "", "Code": "Success", "Message": ""}
        if self._is_full(to):
            return {**item, "Code": "InsufficientSnapshotQuota", "Message": _QUOTA_USED_UP}
        nth = self._made[to, source.disk.disk_id]
        copy = StoredSnapshot(
            snapshot_id=self._new_id(to, source.disk, nth),
            name=name,
            disk=source.disk,
            asked_usage=source.asked_usage,
            deadline="",
            tags=(),
            made_at=now,
            ready_at=now + self.scenario.copying_s,
            server_time=now + self.scenario.clock_offset_s,
            vanishes=self._fails(to, source.disk, nth),
            source=source,
            copied_to=to,
        )
        source.copies.append(copy)
        self._add(to, copy)
        return {**item, "SnapshotId": copy.snapshot_id}

    def _is_full(self, region: str) -> bool:
        most = self.scenario.quota_snapshots
        return bool(most) and self._alive[region] >= most

    def _check_region(self, region: str) -> None:
        if self._is_full(region):
            raise Refused("InsufficientSnapshotQuota", _QUOTA_USED_UP)
        most = self.scenario.max_creating
        if most and self._creating[region] >= most:
            raise Refused(
                "ResourceUnavailable.TooManyCreatingSnapshot",
                "Too many snapshots are being created at the moment.",
            )

    def _add(self, region: str, snapshot: StoredSnapshot) -> None:
        self.created += 1
        self._made[region, snapshot.disk.disk_id] += 1
        self._by_id[snapshot.snapshot_id] = snapshot
        self._by_disk.setdefault((region, snapshot.disk.disk_id), []).append(snapshot)
        self._by_region[region].append(snapshot)
        self._alive[region] += 1
        self._creating[region] += 1
        heappush(self._ripening, (snapshot.ready_at, snapshot.snapshot_id, snapshot))

    def _remove(self, snapshot: StoredSnapshot) -> None:
        region = snapshot.region
        snapshot.alive = False
        del self._by_id[snapshot.snapshot_id]
        self._by_disk[region, snapshot.disk.disk_id].remove(snapshot)
        if snapshot.source is not None:
            snapshot.source.copies.remove(snapshot)
        self._alive[region] -= 1
        self._dead[region] += 1

    def _candidates(
        self,
        region: str,
        body: Mapping[str, Any],
        filters: Sequence[tuple[str, tuple[str, ...]]],
    ) -> Sequence[StoredSnapshot]:
        """The smallest set, oldest first, that surely holds every match."""
        ids = body.get("SnapshotIds")
        for name, values in filters:
            if name == "disk-id":
                found = [s for i in set(values) for s in self._by_disk.get((region, i), ())]
                return sorted(found, key=lambda s: s.made_at)
            if name == "snapshot-id":
                ids = values
        if ids:
            known = (self._by_id.get(i) for i in dict.fromkeys(ids))
            here = [s for s in known if s is not None and s.region == region]
            return sorted(here, key=lambda s: s.made_at)
        if self._dead[region]:
            self._by_region[region] = [s for s in self._by_region[region] if s.alive]
            self._dead[region] = 0
        return self._by_region[region]

    def _print(self, disk: Disk) -> dict[str, Any]:
        return disk.to_api(len(self._by_disk.get((disk.region, disk.disk_id), ())))

    def _fails(self, region: str, disk: Disk, nth: int) -> bool:
        share = self.scenario.vanish
        labels = [disk.disk_id, nth] + [region] * (region != disk.region)  # a copy's own chance
        return bool(share) and chance(self.scenario.seed, "vanish", *labels) < share

    def _new_id(self, region: str, disk: Disk, nth: int) -> str:
        salt = 0
        while True:
            labels = (self.scenario.seed, "snapshot", region, disk.disk_id, nth, salt)
            snapshot_id = f"snap-{word(*labels)}"
            if snapshot_id not in self._by_id:
                return snapshot_id
            salt += 1
