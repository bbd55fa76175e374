"""The first promise against a model of the cloud: the real engine on virtual time, killed at will.

hypothesis chooses what becomes of every call, when the process dies, what the disk had kept of
the ledger by then, and how the manifest is edited between lives. The model cloud makes snapshots
late and shows them late, within what a signature's life allows. Whatever is chosen: no row has two
snapshots unless a `doubled` record says so, and when a run ends well every row has one.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import anyio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batchsnap.client.account import Account
from batchsnap.client.ports import Departure
from batchsnap.client.stopping import Stop
from batchsnap.cloud.tc3 import Credential
from batchsnap.engine.dispatcher import Dispatcher
from batchsnap.engine.halts import Halts
from batchsnap.engine.limits import Limits
from batchsnap.errors import ManifestError
from batchsnap.job.intake import Birth, Intake, take_in
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.record import Record, decode, encode
from batchsnap.ledger.replay import Fold, folded
from batchsnap.manifest.reader import Manifest
from batchsnap.model import Fault, FaultKind, Quota, Reply, SignedRequest
from batchsnap.pacing.gate import LocalGate
from batchsnap.report.summary import summary_of
from batchsnap.settings import Settings, Waits
from batchsnap.settling.context import RunContext
from tests.virtual import VirtualClock, VirtualLoop, run_virtual

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


class Keys:
    async def get(self, profile: str) -> Credential:
        return Credential("AKIDmodel", "key", "", "model", None)

    def invalidate(self, profile: str) -> None:
        """Nothing to fetch anew."""


class Gates:
    def __init__(self, loop: VirtualLoop) -> None:
        self._clock = VirtualClock(loop)
        self._gates: dict[Quota, LocalGate] = {}

    def of(self, quota: Quota) -> LocalGate:
        return self._gates.setdefault(quota, LocalGate(20.0, clock=self._clock))


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
            gates=Gates(self.loop),
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


@settings(
    max_examples=50,
    deadline=None,
    # Shrinking a run of minutes takes minutes itself; the example is printed as it was found.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    fates=st.lists(st.sampled_from((*FATES, "refused")), min_size=1, max_size=25),
    visible_after_s=st.sampled_from([0.0, 2.0, 20.0]),
    sync_s=st.sampled_from([0.004, 1.5]),
    kills=st.lists(st.floats(0.9, 90.0) | st.floats(1.0, 2.0), max_size=4),
    edits=st.lists(st.permutations(range(5)).map(lambda p: p[:4]), min_size=5, max_size=5),
    named=st.booleans(),
    steps=st.lists(st.sampled_from([0.0, 3600.0, -3600.0]), min_size=5, max_size=5),
    own_names=st.lists(st.sampled_from(["own", "own", "mended"]), min_size=5, max_size=5),
    retry_failed=st.booleans(),
    short=st.lists(st.sampled_from([0, 0, 0, 1, 9]), max_size=7),
)
def test_one_row_one_snapshot(
    tmp_path: Path,
    fates: list[str],
    visible_after_s: float,
    sync_s: float,
    kills: list[float],
    edits: list[list[int]],
    named: bool,
    steps: list[float],
    own_names: list[str],
    retry_failed: bool,
    short: list[int],
) -> None:
    world = World(tmp_path, [*fates, "ok", "ok", "ok"], visible_after_s, sync_s)
    world.cloud.short = short
    world.disk.append(encode(header))
    world.retry_failed = retry_failed

    async def main() -> None:
        for number, kill in enumerate(kills):
            world.own_name = own_names[number]
            await world.life(edits[number], named, kill, steps[number])
        await world.life([0, 1, 2, 3, 4], named, None, steps[-1])
        await asyncio.sleep(400)
        world.cloud.arrive()

    run_virtual(main(), world.loop)
    records = world.records()
    summed = folded(records)
    summary = summary_of(summed)
    doubled = {r["disk_id"] for r in records if r["event"] == "doubled"}

    assert world.ended
    if "very late" not in fates:
        assert not doubled
    for disk in world.rows:
        made = world.cloud.made[disk]
        # Where every list is short the last question is never answered, and the run says so.
        owed = bool(short) and summed.standing(disk).owed
        assert len(made) <= 1 or disk in doubled or owed, (disk, made)
    told = {r["snapshot_id"]: r["disk_id"] for r in records if r["event"] == "accepted"}
    there = {i: disk for disk, made in world.cloud.made.items() for _, i, _ in made}
    assert told.items() <= there.items()
    for key in world.rows:
        if summed.standing(key).state == "accepted":
            assert world.cloud.made[key], key
    failed = summary.gave_up + summary.rejected
    assert summary.accepted + summary.in_doubt + failed + summary.deferred == 5


def test_the_model_can_double_where_nobody_looks_again(tmp_path: Path) -> None:
    """The model is no friend: a very late arrival does double, and is told."""
    world = World(tmp_path, ["very late", "ok", "ok", "ok", "ok", "ok"], 0.0)
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0, 1, 2, 3, 4], False, None)

    run_virtual(main(), world.loop)
    records = world.records()

    assert max(len(made) for made in world.cloud.made.values()) == 2
    assert [r["event"] for r in records].count("doubled") == 1
    assert summary_of(folded(records)).doubled == 1


@settings(
    max_examples=10,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    fates=st.lists(st.sampled_from([f for f in FATES if f != "very late"]), max_size=15),
    visible_after_s=st.sampled_from([0.0, 20.0]),
    kills=st.lists(st.floats(1.0, 90.0) | st.floats(1.0, 2.0), min_size=1, max_size=3),
    kept=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    named=st.booleans(),
)
def test_a_ledger_put_back_to_an_older_copy_doubles_nothing(
    tmp_path: Path,
    fates: list[str],
    visible_after_s: float,
    kills: list[float],
    kept: list[float],
    named: bool,
) -> None:
    world = World(tmp_path, [*fates, "ok", "ok", "ok"], visible_after_s)
    world.disk.append(encode(header))

    async def main() -> None:
        for kill, share in zip(kills, kept, strict=False):
            await world.life([0, 1, 2, 3, 4], named, kill)
            del world.disk[1 + round(share * (len(world.disk) - 1)) :]
            world.gap = Gap.LOST
        await world.life([0, 1, 2, 3, 4], named, None)

    run_virtual(main(), world.loop)
    summed = folded(world.records())
    made = {disk: len(world.cloud.made[disk]) for disk in world.rows}
    assert max(made.values()) <= 1, made
    for key in world.rows:
        state = summed.standing(key).state
        assert state == "accepted" or (named and made[key] and state == "deferred"), key
