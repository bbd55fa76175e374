"""Owns one account of the cloud: meters, tries, fates and the world behind two questions.

`admit` says whether and how a call goes on, `perform` carries it out. Between the two the
server lets time pass, as it does in a data centre.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from batchsnap.simulator import bodies
from batchsnap.simulator.bodies import Refused
from batchsnap.simulator.fates import Call, Fate, fate
from batchsnap.simulator.meter import Meter
from batchsnap.simulator.scenario import Scenario
from batchsnap.simulator.script import CREATE, Kind
from batchsnap.simulator.world import World


class Cloud:
    """The whole simulated cloud but its socket. `now` is Unix seconds, never going back."""

    def __init__(self, scenario: Scenario, fleet: Iterable[tuple[str, str]] | None = None) -> None:
        self._fleet = None if fleet is None else tuple(fleet)
        self.scenario = scenario
        self.reset()

    def reset(self) -> None:
        """Forget everything but the scenario and the fleet."""
        self.world = World(self.scenario, self._fleet)
        self.meters: dict[tuple[str, str], Meter] = {}  # by (action, SecretId)
        self.faults: Counter[str] = Counter()  # by Kind, those that were played
        self._nth: Counter[str] = Counter()  # by action
        self._region_nth: Counter[tuple[str, str]] = Counter()  # by (action, region)
        self._disk_nth: Counter[tuple[str, str, str]] = Counter()  # by (action, region, disk)
        self._first_s: dict[tuple[str, str], float] = {}  # by (region, disk)

    def change(self, scenario: Scenario) -> None:
        """Another scenario from here on; disks, snapshots and counts stay."""
        self.scenario = scenario
        self.world.follow(scenario)

    def admit(
        self, action: str, secret_id: str, region: str, body: Any, now: float
    ) -> tuple[Fate, dict[str, Any]]:
        """Count the call and decide its fate; gives the checked body back. Raises Refused."""
        self._count(action, secret_id, now)
        checked = bodies.check(action, body)
        disk_id = ""
        if action == CREATE:
            bodies.check_create(checked, now + self.scenario.clock_offset_s)
            disk_id = checked.get("DiskId") or checked["DiskBackupId"]
        decided = fate(self.scenario, self._call(action, region, disk_id, now))
        if decided.kind is not Kind.OK:
            self.faults[decided.kind.value] += 1
        return decided, checked

    def perform(
        self, action: str, region: str, body: Mapping[str, Any], now: float
    ) -> dict[str, Any]:
        """Carry the action out: its part of the reply. Raises Refused."""
        match action:
            case "CreateSnapshot":
                return {"SnapshotId": self.world.create(region, body, now).snapshot_id}
            case "DescribeSnapshots":
                return self.world.describe_snapshots(region, body, now)
            case "DescribeDisks":
                return self.world.describe_disks(region, body)
            case "DescribeDiskBackups":
                return self.world.describe_backups(region, body)
            case _:
                self.world.delete(region, body, now)
                return {}

    def state(self, now: float, *, brief: bool = False) -> dict[str, Any]:
        """What `/_sim/state` prints; `brief` leaves the list of snapshots out."""
        living = self.world.snapshots(now)
        shown = {} if brief else {"snapshots": [s.to_json(now) for s in living]}
        by_disk: dict[tuple[str, ...], list[str]] = defaultdict(list)
        by_name: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for s in living:
            by_disk[s.disk.region, s.disk.disk_id].append(s.snapshot_id)
            by_name[s.disk.region, s.disk.disk_id, s.name].append(s.snapshot_id)
        return {
            **shown,
            "alive": len(living),
            "created": self.world.created,
            "deleted": self.world.deleted,
            "vanished": self.world.vanished,
            "quotas": [
                {"action": action, "secret_id": secret_id, **meter.to_json()}
                for (action, secret_id), meter in self.meters.items()
            ],
            "faults": {str(kind): number for kind, number in self.faults.items()},
            "duplicates": {
                "by_disk": _several(("region", "disk_id"), by_disk),
                "by_name": _several(("region", "disk_id", "name"), by_name),
            },
        }

    def _count(self, action: str, secret_id: str, now: float) -> None:
        key = (action, secret_id)
        meter = self.meters.get(key)
        if meter is None:
            meter = self.meters[key] = Meter()
        scenario = self.scenario
        cap = scenario.cap_of(action)
        seen = meter.arrive(
            now, cap, window=scenario.throttle_window, count_rejected=scenario.count_rejected
        )
        if seen:
            raise Refused(
                "RequestLimitExceeded",
                f"`{seen}` calls in one second, the limit is `{cap:g}`. Please call less often.",
            )

    def _call(self, action: str, region: str, disk_id: str, now: float) -> Call:
        self._nth[action] += 1
        self._region_nth[action, region] += 1
        disk_nth, since = 0, 0.0
        if disk_id:
            self._disk_nth[action, region, disk_id] += 1
            disk_nth = self._disk_nth[action, region, disk_id]
            since = now - self._first_s.setdefault((region, disk_id), now)
        region_nth = self._region_nth[action, region]
        return Call(action, disk_id, region, disk_nth, region_nth, self._nth[action], since)


def _several(
    names: tuple[str, ...], groups: Mapping[tuple[str, ...], list[str]]
) -> list[dict[str, Any]]:
    return [
        {**dict(zip(names, key, strict=True)), "snapshot_ids": ids}
        for key, ids in groups.items()
        if len(ids) > 1
    ]
