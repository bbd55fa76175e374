"""The cloud, the ledger and the way between them in memory, for tests on virtual time.

`Twin` sets up one account beside the engine's parts; `tests.world` runs whole lives of the engine
in the same cloud.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from batchsnap.client.account import Account
from batchsnap.client.ports import Departure
from batchsnap.client.stopping import Stop
from batchsnap.cloud.tc3 import Credential
from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.model import Fault, FaultKind, PlannedRequest, Quota, Reply, SignedRequest
from batchsnap.pacing.gate import LocalGate
from batchsnap.settings import Settings, Waits
from batchsnap.settling.row import RunContext
from batchsnap.settling.snapshots import Snapshot, snapshot_of
from tests.ledgers import request
from tests.memory import MemorySink, MemoryStore
from tests.virtual import VirtualClock, VirtualLoop

FATES = (
    *("ok", "ok", "ok", "lost", "reset", "late", "very late", "502 done", "502", "busy"),
    *("throttled", "unsent", "creating", "null id", "hang"),
)
_HELD_S = {"late": 3.0, "very late": 250.0, "hang": 20.0}
_CODES = {
    "busy": "InvalidDisk.Busy",
    "throttled": "RequestLimitExceeded",
    "creating": "InvalidDisk.SnapshotCreating",
    "refused": "InvalidParameterValue",
}
Mishap = Callable[[str, dict[str, Any]], Reply | Fault | None]
LOST = Fault(FaultKind.RESET, True, "no reply", 50.0)
REGION = "ap-guangzhou"


def reply(**response: Any) -> Reply:
    body = json.dumps({"Response": {**response, "RequestId": "r"}}).encode()
    return Reply(200, body, None, 50.0)


def refusal(code: str) -> Reply:
    return reply(Error={"Code": code, "Message": f"{code} it is"})


@dataclass
class Shown:
    """A snapshot as the cloud shows it, from `at` on, and as late as its lists lag."""

    disk_id: str
    name: str = ""
    state: str = "NORMAL"
    percent: int = 100
    at: float = -math.inf


class MemoryCloud:
    """The one cloud in memory. It has the snapshots that it is given or makes, and shows them when
    they are visible; a call to make one meets the next of its fates. A mishap sees a call first:
    what that returns is the reply."""

    def __init__(
        self,
        loop: VirtualLoop,
        fates: Sequence[str] = ("ok",),
        visible_after_s: float = 0.0,
        *,
        takes_s: float = 0.05,
        disks: set[str] | None = None,
    ) -> None:
        """`disks`: those there are; None: any."""
        self.loop = loop
        self.fates = fates
        self.visible_after_s = visible_after_s
        self.takes_s = takes_s
        self.disks = disks
        self.snapshots: dict[str, Shown] = {}
        self.late: list[tuple[float, str, str]] = []  # (when it arrives, disk, name)
        self.held_s = 0.0  # the first call to make one is lost, and arrives so late
        self.hidden: Callable[[str], bool] = lambda snapshot_id: False  # from lists
        self.counts_hidden = False  # lists count what they hide
        self.short: list[int] = []  # by how many items the lists fall short, in turn
        self.mishap: Mishap = lambda action, body: None
        self.calls: list[tuple[float, str, dict[str, Any]]] = []
        self.creates = 0
        self._made = self._listed = 0

    @property
    def made(self) -> dict[str, list[str]]:
        """Ids of snapshots by disk, in the order in which they came."""
        made: dict[str, list[str]] = defaultdict(list)
        for snapshot_id, shown in self.snapshots.items():
            made[shown.disk_id].append(snapshot_id)
        return made

    def asked(self, action: str) -> list[float]:
        """When each call of that action came."""
        return [at for at, called, _ in self.calls if called == action]

    def arrive(self) -> None:
        """Whatever was held on the way and is due."""
        due = [item for item in self.late if item[0] <= self.loop.time()]
        self.late = [item for item in self.late if item[0] > self.loop.time()]
        for at, disk, name in due:
            self._make(at, disk, name)

    async def send(
        self, request: SignedRequest, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        if start is not None:
            await start.leave()
            start.left()
        action, body = dict(request.headers)["X-TC-Action"], json.loads(request.body)
        self.calls.append((self.loop.time(), action, body))
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        self.arrive()
        if (outcome := self.mishap(action, body)) is not None:
            return outcome
        if action == "CreateSnapshot":
            return await self._create(body, timeout_s)
        answer: Reply = getattr(self, f"_{action}")(body)
        return answer

    def _make(self, at: float, disk: str, name: str) -> str:
        snapshot_id = f"snap-{self._made:08x}"
        self._made += 1
        self.snapshots[snapshot_id] = Shown(disk, name, at=at)
        return snapshot_id

    async def _create(self, body: dict[str, Any], timeout_s: float) -> Reply | Fault:
        fate = self.fates[self.creates % len(self.fates)]
        self.creates += 1
        disk, name, now = body["DiskId"], body["SnapshotName"], self.loop.time()
        if self.held_s and self.creates == 1:
            self.late.append((now + self.held_s, disk, name))
            return Fault(FaultKind.RESET, True, "held on the way", 50.0)
        if fate in {"ok", "lost", "502 done", "null id"}:
            made = self._make(now, disk, name)
            if fate == "ok":
                return reply(SnapshotId=made)
            if fate == "null id":
                return reply(SnapshotId=None)
        if fate in _HELD_S:
            self.late.append((now + _HELD_S[fate], disk, name))
        if fate == "hang":
            await asyncio.sleep(timeout_s)
            return Fault(FaultKind.TIMEOUT, True, "no reply", timeout_s * 1000)
        if fate.startswith("502"):
            return Reply(502, b"<html>", None, 50.0)
        if fate in _CODES:
            return refusal(_CODES[fate])
        return Fault(FaultKind.RESET, fate != "unsent", fate, 50.0)

    def _DescribeSnapshots(self, body: dict[str, Any]) -> Reply:
        """By disk or by id. A short list counts what it does not show."""
        wanted = set(body.get("SnapshotIds", ()))
        for of_list in body.get("Filters", ()):
            wanted |= set(of_list["Values"])
        found = {
            i: shown
            for i, shown in self.snapshots.items()
            if {i, shown.disk_id} & wanted and self.loop.time() - shown.at >= self.visible_after_s
        }
        items = [_item(i, shown) for i, shown in found.items() if not self.hidden(i)]
        total = len(found if self.counts_hidden else items)
        if self.short:
            self._listed += 1
            del items[max(0, len(items) - self.short[self._listed % len(self.short)]) :]
        return reply(TotalCount=total, SnapshotSet=items)

    def _DescribeDisks(self, body: dict[str, Any]) -> Reply:
        there = self.disks
        items = [{"DiskId": disk} for disk in body["DiskIds"] if there is None or disk in there]
        return reply(TotalCount=len(items), DiskSet=items)

    def _DeleteSnapshots(self, body: dict[str, Any]) -> Reply:
        if any(i not in self.snapshots for i in body["SnapshotIds"]):
            return refusal("InvalidSnapshotId.NotFound")
        for snapshot_id in body["SnapshotIds"]:
            del self.snapshots[snapshot_id]
        return reply()


def _item(snapshot_id: str, shown: Shown) -> dict[str, Any]:
    return {
        "SnapshotId": snapshot_id,
        "SnapshotName": shown.name,
        "DiskId": shown.disk_id,
        "SnapshotState": shown.state,
        "Percent": shown.percent,
    }


class MemoryLedger(MemorySink):
    """The ledger in memory, and what tests ask of it."""

    def __init__(self) -> None:
        store = MemoryStore()
        super().__init__(store)
        self.kept = store.kept

    def events(self, key: str) -> list[str]:
        """What happened to a row."""
        return [record["event"] for record in self.kept if record.get("key") == key]

    def intents(self, keys: Iterable[str]) -> dict[str, Record]:
        intents = [record for record in self.kept if record["event"] == "intent"]
        return {record["key"]: record for record in intents if record["key"] in keys}


class Keys:
    """One credential for all."""

    async def get(self, profile: str) -> Credential:
        return Credential("AKIDtwin", "key", "", "twin", None)

    def invalidate(self, profile: str) -> None:
        """Nothing to fetch anew."""


class Gates:
    """Gates on virtual time, no other process beside."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._gates: dict[Quota, LocalGate] = {}

    def of(self, quota: Quota) -> LocalGate:
        return self._gates.setdefault(quota, LocalGate(20.0, clock=self._clock))


class Twin:
    """A cloud and a ledger, and what the engine needs to go between them."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.cloud = MemoryCloud(self.loop, takes_s=0.0, disks=set())
        self.ledger = MemoryLedger()
        self.said: list[str] = []
        self.stop = Stop()
        self.context = RunContext(
            self.ledger,
            self.clock,
            self.stop,
            settings or Settings(),
            Waits(),
            random.Random(1),
            self.said.append,
        )
        self.account = Account(
            "",
            "https://cbs.example.com",
            credentials=Keys(),
            send=self.cloud,
            gates=Gates(self.clock),
            clock=self.clock,
            timeout_s=30.0,
        )

    def note(self, event: str, row: PlannedRequest, **details: Any) -> Record:
        """A record of the row's first attempt, as an earlier process left it."""
        record = row_record(event, row, 1, stamp(self.clock.wall()), **details)
        self.ledger.append(record)
        return record

    def made(self, number: int, *, seen_on: str = "", **shown: Any) -> Snapshot:
        """A snapshot that the number-th row was given; the cloud shows it, perhaps on another
        disk."""
        row = request(number, region=REGION)
        snapshot_id = f"snap-{number:08x}"
        self.note("intent", row, snapshot_name=row.name)
        record = self.note("accepted", row, snapshot_id=snapshot_id)
        self.cloud.disks.add(row.disk_id)
        self.cloud.snapshots[snapshot_id] = Shown(seen_on or row.disk_id, row.name, **shown)
        return snapshot_of(record)
