"""Owns one account of the cloud: call limits, tries, outcomes and the world behind two questions.

`admit` says whether and how a call goes on, `perform` carries it out. Between the two the
server lets time pass, as it does in a data centre.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

from batchsnap.simulator import requests
from batchsnap.simulator.outcomes import Call, Outcome, outcome_of
from batchsnap.simulator.requests import Refused
from batchsnap.simulator.scenario import COPY, CREATE, Kind, Scenario
from batchsnap.simulator.world import World

# A microsecond short of a second: Unix seconds in a float are no finer than a quarter of one,
# and calls exactly a second apart must not fall into one window by rounding.
WINDOW_S = 1.0 - 1e-6


class _Window:
    """How many marks lie in the last second, and the most that ever did."""

    def __init__(self) -> None:
        self.marks: deque[float] = deque()
        self.worst = 0

    def add(self, now: float) -> int:
        count = self.count(now) + 1
        self.marks.append(now)
        self.worst = max(self.worst, count)
        return count

    def count(self, now: float) -> int:
        marks = self.marks
        while marks and marks[0] <= now - WINDOW_S:
            marks.popleft()
        return len(marks)


class CallLimit:
    """One quota: one action called by one SecretId.

    `sliding` looks back over (now - 1 s, now]; `fixed` counts within whole seconds of the
    clock. Refused calls were seen to be counted too (the counts in the cloud's messages go
    21, 22, 23 for a limit of 20), so they are unless `count_rejected` is off. The two `worst`
    figures are strict sliding seconds whatever the window that refuses.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.throttled = 0
        self._arrived = _Window()
        self._accepted = _Window()
        self._second = -1
        self._in_second = 0

    def arrive(
        self, now: float, cap: float, *, window: str = "sliding", count_rejected: bool = True
    ) -> int:
        """Count one call at `now` (seconds, never going back).

        Returns 0 if it may pass, else the number of calls in the window, this one included.
        A cap of 0 lets everything pass.
        """
        self.calls += 1
        arrivals = self._arrived.add(now)
        if window == "fixed":
            seen = self._count_fixed(now)
        elif count_rejected:
            seen = arrivals
        else:
            seen = self._accepted.count(now) + 1
        if cap and seen > cap:
            self.throttled += 1
            if window == "fixed" and not count_rejected:
                self._in_second -= 1
            return seen
        self._accepted.add(now)
        return 0

    def _count_fixed(self, now: float) -> int:
        if int(now) != self._second:
            self._second, self._in_second = int(now), 0
        self._in_second += 1
        return self._in_second

    def to_json(self) -> dict[str, Any]:
        """`{calls, throttled, worst_second, worst_second_accepted}`, all counts."""
        return {
            "calls": self.calls,
            "throttled": self.throttled,
            "worst_second": self._arrived.worst,
            "worst_second_accepted": self._accepted.worst,
        }


class Cloud:
    """The whole simulated cloud but its socket. `now` is Unix seconds, never going back."""

    def __init__(self, scenario: Scenario, fleet: Iterable[tuple[str, str]] | None = None) -> None:
        self._fleet = None if fleet is None else tuple(fleet)
        self.scenario = scenario
        self.reset()

    def reset(self) -> None:
        """Forget everything but the scenario and the fleet."""
        self.world = World(self.scenario, self._fleet)
        self.limits: dict[tuple[str, str], CallLimit] = {}  # by (action, SecretId)
        self.faults: Counter[str] = Counter()  # by Kind, those that came to pass
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
    ) -> tuple[Outcome, dict[str, Any]]:
        """Count the call and decide its outcome; gives the checked body back. Raises Refused."""
        self._count(action, secret_id, now)
        if action in requests.OF_STS and self.scenario.no_sts:
            raise Refused("UnauthorizedOperation", f"You are not allowed to call sts:{action}.")
        checked = requests.check(action, body)
        disk_id = ""
        if action == CREATE:
            requests.check_create(checked, now + self.scenario.clock_offset_s)
            disk_id = checked.get("DiskId") or checked["DiskBackupId"]
        elif action == COPY:
            requests.check_copy(checked, region)
            disk_id = checked["SnapshotId"]
        decided = outcome_of(self.scenario, self._call(action, region, disk_id, now))
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
            case "CopySnapshotCrossRegions":
                return {"SnapshotCopyResultSet": self.world.copy(region, body, now)}
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
            by_disk[s.region, s.disk.disk_id].append(s.snapshot_id)
            by_name[s.region, s.disk.disk_id, s.name].append(s.snapshot_id)
        return {
            **shown,
            "alive": len(living),
            "created": self.world.created,
            "deleted": self.world.deleted,
            "vanished": self.world.vanished,
            "quotas": [
                {"action": action, "secret_id": secret_id, **limit.to_json()}
                for (action, secret_id), limit in self.limits.items()
            ],
            "faults": {str(kind): number for kind, number in self.faults.items()},
            "duplicates": {
                "by_disk": _several(("region", "disk_id"), by_disk),
                "by_name": _several(("region", "disk_id", "name"), by_name),
            },
        }

    def _count(self, action: str, secret_id: str, now: float) -> None:
        key = (action, secret_id)
        limit = self.limits.get(key)
        if limit is None:
            limit = self.limits[key] = CallLimit()
        scenario = self.scenario
        cap = scenario.cap_of(action)
        seen = limit.arrive(
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
