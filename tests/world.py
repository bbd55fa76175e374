"""A model of the cloud and the real engine in it, on virtual time: lives that may end at any
moment, calls that arrive late, snapshots that show late, and a disk that keeps what was synced."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import anyio

from batchsnap.client.account import Account
from batchsnap.client.ports import Departure
from batchsnap.client.stopping import Stop
from batchsnap.engine.dispatcher import Dispatcher
from batchsnap.engine.halts import Halts
from batchsnap.engine.limits import Limits
from batchsnap.errors import ManifestError
from batchsnap.job.intake import Intake, take_in
from batchsnap.job.spec import Birth
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.record import Record, decode, encode
from batchsnap.ledger.replay import Fold
from batchsnap.manifest.reader import Manifest
from batchsnap.model import Fault, FaultKind, Reply, SignedRequest
from batchsnap.settings import Settings, Waits
from batchsnap.settling.row import RunContext
from tests.twin import Gates, Keys
from tests.virtual import VirtualClock, VirtualLoop

ENDPOINT = "https://cbs.example.com"
FATES = (
    *("ok", "ok", "ok", "lost", "reset", "late", "very late", "502 done", "502", "busy"),
    *("throttled", "unsent", "creating", "null id", "hang"),
)


class SteppingClock(VirtualClock):
    """A host whose wall clock is set now and then; the monotonic one goes on."""

    step_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.step_s


class ModelCloud:
    """Snapshots by disk, and calls that may arrive, and show, later than they seem to."""

    def __init__(self, loop: VirtualLoop, fates: list[str], visible_after_s: float) -> None:
        self.loop = loop
        self.fates = fates
        self.visible_after_s = visible_after_s
        self.made: dict[str, list[tuple[float, str, str]]] = defaultdict(list)
        self.late: list[tuple[float, str, str]] = []
        self.calls = 0
        self.short: list[int] = []  # by how many items the lists fall short, in turn
        self.asked = 0

    def arrive(self) -> None:
        """Whatever was held on the way and is due."""
        due = [item for item in self.late if item[0] <= self.loop.time()]
        self.late = [item for item in self.late if item[0] > self.loop.time()]
        for at, disk, name in due:
            self._make(at, disk, name)

    def _make(self, at: float, disk: str, name: str) -> str:
        snapshot_id = f"snap-{sum(map(len, self.made.values())):08x}"
        self.made[disk].append((at, snapshot_id, name))
        return snapshot_id

    async def send(
        self, request: SignedRequest, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        if start is not None:
            await start.leave()
            start.left()
        action = dict(request.headers)["X-TC-Action"]
        body = json.loads(request.body)
        await asyncio.sleep(0.05)
        self.arrive()
        if action == "CreateSnapshot":
            return await self._create(body, timeout_s)
        if action == "DescribeDisks":
            disks = [{"DiskId": disk} for disk in body["DiskIds"]]
            return _reply({"TotalCount": len(disks), "DiskSet": disks})
        return _reply(self._list(body))

    def _list(self, body: dict[str, Any]) -> dict[str, Any]:
        """The snapshots asked for, by disk or by id; a short list counts what it does not show."""
        wanted = set(body.get("SnapshotIds", ()))
        for of_list in body.get("Filters", ()):
            wanted |= set(of_list["Values"])
        shown = [
            {"SnapshotId": i, "SnapshotName": n, "DiskId": d, "SnapshotState": "NORMAL"}
            for d, made in self.made.items()
            for at, i, n in made
            if self.loop.time() - at >= self.visible_after_s and {d, i} & wanted
        ]
        total = len(shown)
        if self.short:
            self.asked += 1
            del shown[max(0, total - self.short[self.asked % len(self.short)]) :]
        return {"TotalCount": total, "SnapshotSet": shown}

    async def _create(self, body: dict[str, Any], timeout_s: float) -> Reply | Fault:
        fate = self.fates[self.calls % len(self.fates)]
        self.calls += 1
        disk, name, now = body["DiskId"], body["SnapshotName"], self.loop.time()
        if fate in {"ok", "lost", "502 done", "null id"}:
            made = self._make(now, disk, name)
            if fate == "ok":
                return _reply({"SnapshotId": made})
            if fate == "null id":
                return _reply({"SnapshotId": None})
        if fate in {"late", "very late", "hang"}:
            held_s = {"late": 3.0, "very late": 250.0, "hang": 20.0}[fate]
            self.late.append((now + held_s, disk, name))
        if fate == "hang":
            await asyncio.sleep(timeout_s)
            return Fault(FaultKind.TIMEOUT, True, "no reply", timeout_s * 1000)
        if fate.startswith("502"):
            return Reply(502, b"<html>", None, 50.0)
        codes = {
            "busy": "InvalidDisk.Busy",
            "throttled": "RequestLimitExceeded",
            "creating": "InvalidDisk.SnapshotCreating",
            "refused": "InvalidParameterValue",
        }
        if fate in codes:
            return _reply({"Error": {"Code": codes[fate], "Message": fate}})
        return Fault(FaultKind.RESET, fate != "unsent", fate, 50.0)


def _reply(response: dict[str, Any]) -> Reply:
    body = json.dumps({"Response": {**response, "RequestId": "r"}}).encode()
    return Reply(200, body, None, 50.0)


class MemorySink:
    """A RecordSink whose disk takes its time; `disk` is what a power loss leaves. What nobody
    waits for gets there up to `late_s` later, or with what somebody waits for."""

    def __init__(self, disk: list[bytes], fold: Fold, sync_s: float, late_s: float) -> None:
        self.sync_s = sync_s
        self.late_s = late_s
        self.due = 0.0
        self.awaited = False
        self.fold = fold
        self.failure = None
        self.disk = disk
        self.waiting: list[bytes] = []
        self.synced = anyio.Event()

    def append(self, record: Record) -> anyio.Event:
        self.fold.apply(record)
        if not self.waiting:
            self.due = asyncio.get_running_loop().time() + self.late_s
        self.waiting.append(encode(record))
        return self.synced

    async def durable(self, group: Any) -> None:
        self.awaited = True
        await group.wait()

    async def commit(self) -> None:
        while True:
            await asyncio.sleep(0.013)
            if not self.awaited and asyncio.get_running_loop().time() < self.due:
                continue
            self.awaited = False
            event, self.synced = self.synced, anyio.Event()
            group, self.waiting = self.waiting, []
            await asyncio.sleep(self.sync_s)
            self.disk += group
            event.set()


class World:
    """One run over all its lives."""

    def __init__(
        self, folder: Path, fates: list[str], visible_after_s: float, sync_s: float = 0.004
    ) -> None:
        self.sync_s = sync_s
        self.late_s = 0.3
        self.loop = VirtualLoop()
        self.cloud = ModelCloud(self.loop, fates, visible_after_s)
        self.path = folder / "fleet.csv"
        self.disk: list[bytes] = []
        self.rows: set[str] = set()
        self.options = Settings()
        self.retry_failed = False
        self.endpoint = ENDPOINT
        self.gap = Gap.NONE
        self.own_name = "own"  # of rows that are named
        self.named_as: dict[int, str] = {}  # what the manifest last said, by row

    def sink_of(self, fold: Fold) -> Any:
        """Where a life's records go."""
        return MemorySink(self.disk, fold, self.sync_s, self.late_s)

    def records(self) -> list[Record]:
        """What the disk has."""
        return [record for line in self.disk if (record := decode(line)) is not None]

    async def life(
        self, rows: list[int], named: bool, killed_after_s: float | None, step_s: float = 0.0
    ) -> None:
        """Run until the end or the kill, with the wall clock set by `step_s` on the way."""
        self.rows |= {f"disk-{n:08x}" for n in rows}
        names = [self.own_name if named else ""] * len(rows)
        fold, clock = Fold(), SteppingClock(self.loop)
        for line in self.disk:
            record = decode(line)
            assert record is not None
            fold.apply(record)
        options, waits, stop = self.options, Waits(), Stop()
        birth = Birth("run", 1_800_000_000.0)

        def take() -> Intake:
            lines = [f"disk-{n:08x},ap-tokyo,{name}" for n, name in zip(rows, names, strict=True)]
            self.path.write_text("DiskId,Region,SnapshotName\n" + "\n".join(lines) + "\n")
            with Manifest.open(str(self.path)) as manifest:
                return take_in(
                    manifest,
                    fold,
                    options,
                    waits,
                    birth=birth,
                    now=clock.wall(),
                    endpoint=self.endpoint,
                    retry_failed=self.retry_failed,
                    ask_first=bool(self.gap),
                )

        try:
            intake = take()
        except ManifestError as refused:
            # What may still turn up keeps its name: the user puts it back, and runs again.
            for problem in refused.problems:
                assert problem.column == "SnapshotName"
                names[problem.line - 2] = self.named_as[rows[problem.line - 2]]
            intake = take()
        self.named_as.update(zip(rows, names, strict=True))
        sink = self.sink_of(fold)
        context = RunContext(sink, clock, stop, options, waits, random.Random(1), lambda text: None)
        account = Account(
            "",
            self.endpoint,
            credentials=Keys(),
            send=self.cloud,
            gates=Gates(VirtualClock(self.loop)),
            clock=clock,
            timeout_s=options.timeout_s,
        )
        dispatcher = Dispatcher(
            account,
            list(intake.queues.values()),
            context,
            halts=Halts(lambda text: None),
            limits=Limits(options, fold, intake.rows, stop, lambda text: None),
            claimed=lambda disk_id: set(),
            intents=lambda keys: {},
            ask_first=self.gap,
            send=True,
            wait=False,
        )
        commit = asyncio.ensure_future(sink.commit())
        running = asyncio.ensure_future(dispatcher.run())
        self.loop.call_later(1.3, setattr, clock, "step_s", step_s)
        await asyncio.wait({running}, timeout=killed_after_s)
        if running.done():
            running.result()
            await asyncio.sleep(2 * self.sync_s + self.late_s + 0.1)
            self.ended = True
        else:
            sink.disk = []  # the dead write nothing more
            running.cancel()
            self.ended = False
        commit.cancel()
        await asyncio.wait({running, commit})
        intake.close()


header: Record = {
    "v": 1,
    "event": "run",
    "run_id": "run",
    "manifest": {"rows": 5},
    "endpoint": ENDPOINT,
    "simulated": False,
    "settings": {},
    "at": "2027-01-15T08:00:00.000Z",
}
