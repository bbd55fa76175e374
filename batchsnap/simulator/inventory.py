"""Owns the disks and backup points of this cloud: which exist, in which region."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from batchsnap.simulator.outcomes import missing, word
from batchsnap.simulator.requests import Refused
from batchsnap.simulator.resources import Backup, Disk
from batchsnap.simulator.scenario import Scenario

_DISK_ID = re.compile(r"disk-[a-z0-9]{8}")
_BACKUP_ID = re.compile(r"dbp-[a-z0-9]{8}")


class Inventory:
    """The fleet, and where the scenario lets any well-formed id exist, all that was asked for.

    `fleet` is (disk id, region) pairs; None means that none was given.
    """

    def __init__(self, scenario: Scenario, fleet: Iterable[tuple[str, str]] | None) -> None:
        self._has_fleet = fleet is not None
        self.follow(scenario)
        self._disks: dict[str, dict[str, Disk]] = defaultdict(dict)  # region -> id -> disk
        self._backups: dict[str, dict[str, Backup]] = defaultdict(dict)
        self._used_up: set[str] = set()
        for disk_id, region in fleet or ():
            self._disks[region][disk_id] = Disk(disk_id, region, scenario.seed)

    def follow(self, scenario: Scenario) -> None:
        """Go by another scenario from here on."""
        self._scenario = scenario
        policy = scenario.unknown_disks
        self._any = policy == "any" or (policy == "auto" and not self._has_fleet)

    def disks(self, region: str) -> list[Disk]:
        """The fleet of a region, and what was made up for it so far."""
        return [d for d in self._disks[region].values() if not missing(self._scenario, d.disk_id)]

    def find_disk(self, region: str, disk_id: str) -> Disk | None:
        """The disk, if it exists there."""
        disk = self._disks[region].get(disk_id)
        if disk is None and self._any and _DISK_ID.fullmatch(disk_id):
            disk = self._disks[region][disk_id] = Disk(disk_id, region, self._scenario.seed)
        return None if disk is None or missing(self._scenario, disk_id) else disk

    def disk(self, region: str, disk_id: str) -> Disk:
        """The disk. Raises Refused where it does not exist."""
        disk = self.find_disk(region, disk_id)
        if disk is not None:
            return disk
        if not disk_id.startswith("disk-"):
            raise Refused("InvalidParameterValue", f"`{disk_id}` is not a disk's id.")
        raise Refused("InvalidDiskId.NotFound", f"There is no `{disk_id}` in {region}.")

    def backups(self, region: str) -> list[Backup]:
        """The backup points of a region."""
        return list(self._backups[region].values())

    def add_backup(self, region: str, backup_id: str, disk_id: str) -> Backup:
        """Put a backup point of a disk there. Raises Refused where there is no such disk."""
        backup = Backup(backup_id, self.disk(region, disk_id))
        self._backups[region][backup_id] = backup
        return backup

    def find_backup(self, region: str, backup_id: str, disk_id: str = "") -> Backup | None:
        """The backup point, if it exists; one that is made up belongs to `disk_id`."""
        backup = self._backups[region].get(backup_id)
        if backup is not None or backup_id in self._used_up:
            return backup
        if not (self._any and _BACKUP_ID.fullmatch(backup_id)):
            return None
        disk_id = disk_id or f"disk-{word(self._scenario.seed, 'backup', backup_id)}"
        disk = self.find_disk(region, disk_id)
        return None if disk is None else self.add_backup(region, backup_id, disk_id)

    def backup(self, region: str, backup_id: str, disk_id: str) -> Backup:
        """The backup point, of this disk where one is named. Raises Refused."""
        backup = self.find_backup(region, backup_id, disk_id)
        if backup is None or disk_id not in ("", backup.disk.disk_id):
            raise Refused("ResourceNotFound.NotFound", f"There is no `{backup_id}` in {region}.")
        return backup

    def use_up(self, backup: Backup) -> None:
        """A snapshot was made of it: it is gone."""
        self._used_up.add(backup.backup_id)
        del self._backups[backup.disk.region][backup.backup_id]
