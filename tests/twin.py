"""The cloud, the ledger and the way between them in memory, for tests on virtual time.

The cloud has the snapshots that it is given and does what it is told with each call; what is asked
of it, and when, it keeps.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from batchsnap.client.account import Account
from batchsnap.client.ports import Departure
from batchsnap.client.stopping import Stop
from batchsnap.cloud.tc3 import Credential
from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.ledger.replay import Fold
from batchsnap.model import Fault, FaultKind, PlannedRequest, Quota, Reply, SignedRequest
from batchsnap.pacing.gate import LocalGate
from batchsnap.settings import Settings, Waits
from batchsnap.settling.row import RunContext
from batchsnap.settling.snapshots import Snapshot, snapshot_of
from tests.ledgers import request
from tests.virtual import VirtualClock, VirtualLoop

LOST = Fault(FaultKind.RESET, True, "no reply", 50.0)
REGION = "ap-guangzhou"


def reply(**response: Any) -> Reply:
    body = json.dumps({"Response": {**response, "RequestId": "r"}}).encode()
    return Reply(200, body, None, 50.0)


def refusal(code: str) -> Reply:
    return reply(Error={"Code": code, "Message": f"{code} it is"})


@dataclass
class Shown:
    """A snapshot as the cloud shows it."""

    disk_id: str
    name: str = ""
    state: str = "NORMAL"
    percent: int = 100


@dataclass
class MemoryCloud:
    """Answers about `snapshots`, and deletes them. A mishap sees a call first: what it returns is
    the reply."""

    loop: VirtualLoop
    snapshots: dict[str, Shown] = field(default_factory=dict)
    disks: set[str] = field(default_factory=set)
    hidden: Callable[[str], bool] = lambda snapshot_id: False  # from lists
    short: bool = False  # lists count what they hide
    mishap: Callable[[str, dict[str, Any]], Reply | Fault | None] = lambda action, body: None
    calls: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)

    async def send(
        self, request: SignedRequest, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        if start is not None:
            await start.leave()
            start.left()
        action, body = dict(request.headers)["X-TC-Action"], json.loads(request.body)
        self.calls.append((self.loop.time(), action, body))
        return self.mishap(action, body) or getattr(self, f"_{action}")(body)

    def asked(self, action: str) -> list[float]:
        """When each call of that action came."""
        return [at for at, called, _ in self.calls if called == action]

    def _DescribeSnapshots(self, body: dict[str, Any]) -> Reply:
        if "SnapshotIds" in body:
            ids = [i for i in body["SnapshotIds"] if i in self.snapshots]
        else:
            disks = next(f["Values"] for f in body["Filters"] if f["Name"] == "disk-id")
            ids = [i for i, shown in self.snapshots.items() if shown.disk_id in disks]
        items = [_item(i, self.snapshots[i]) for i in ids if not self.hidden(i)]
        return reply(TotalCount=len(ids if self.short else items), SnapshotSet=items)

    def _DescribeDisks(self, body: dict[str, Any]) -> Reply:
        items = [{"DiskId": disk} for disk in body["DiskIds"] if disk in self.disks]
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


class MemoryLedger:
    """A RecordSink whose disk is as fast as memory."""

    def __init__(self) -> None:
        self.fold = Fold()
        self.failure = None
        self.records: list[Record] = []

    def append(self, record: Record) -> None:
        self.fold.apply(record)
        self.records.append(record)

    async def durable(self, group: object) -> None:
        """At once."""

    def events(self, key: str) -> list[str]:
        """What happened to a row."""
        return [record["event"] for record in self.records if record.get("key") == key]

    def intents(self, keys: Iterable[str]) -> dict[str, Record]:
        intents = [record for record in self.records if record["event"] == "intent"]
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
        self.cloud = MemoryCloud(self.loop)
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
