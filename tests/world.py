"""Whole lives of the real engine in the cloud in memory, on virtual time: they may end at any
moment, and the disk keeps what was synced."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import anyio

from batchsnap.client.account import Account
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
from batchsnap.settings import Settings, Waits
from batchsnap.settling.row import RunContext
from tests.twin import Gates, Keys, MemoryCloud
from tests.virtual import VirtualClock, VirtualLoop

ENDPOINT = "https://cbs.example.com"


class SteppingClock(VirtualClock):
    """A host whose wall clock is set now and then; the monotonic one goes on."""

    step_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.step_s


class SlowSink:
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
        self.noted = asyncio.Event()  # something waits

    def append(self, record: Record) -> anyio.Event:
        self.fold.apply(record)
        if not self.waiting:
            self.due = asyncio.get_running_loop().time() + self.late_s
        self.waiting.append(encode(record))
        self.noted.set()
        return self.synced

    async def durable(self, group: Any) -> None:
        self.awaited = True
        self.noted.set()
        await group.wait()

    async def commit(self) -> None:
        while True:
            await self.noted.wait()  # hours of turns that find nothing would be most of a test
            await asyncio.sleep(0.013)
            if not self.awaited and asyncio.get_running_loop().time() < self.due:
                continue
            self.awaited = False
            self.noted.clear()
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
        self.cloud = MemoryCloud(self.loop, fates, visible_after_s)
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
        return SlowSink(self.disk, fold, self.sync_s, self.late_s)

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
