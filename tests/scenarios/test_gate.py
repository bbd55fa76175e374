"""The gate on virtual time and among real processes: the cap holds whatever stalls or dies."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from batchsnap.model import Quota
from batchsnap.pacing import law
from batchsnap.pacing.gate import FIRST_START_AFTER_S, LocalGate
from batchsnap.pacing.quota_file import QuotaFile
from tests.virtual import VirtualClock, VirtualLoop, run_virtual

QUOTA = Quota("env", "cbs.example.com", "CreateSnapshot")


async def starts_of(gate: LocalGate, number: int, loop: VirtualLoop) -> list[float]:
    found = []
    for _ in range(number):
        token = await gate.start()
        found.append(loop.time())
        gate.replied(token, throttled=False)
    return found


def test_starts_are_even_and_drift_nowhere() -> None:
    loop = VirtualLoop()

    async def main() -> list[float]:
        gate = LocalGate(20.0, clock=VirtualClock(loop))
        return await starts_of(gate, 2001, loop)

    starts = run_virtual(main(), loop)

    assert starts[0] - 1000.0 >= FIRST_START_AFTER_S
    assert law.worst_window(starts) == 20
    assert 2000 / (starts[-1] - starts[0]) / 20 > 0.99


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 2.5, 20.0, 400.0])
def test_every_rate_is_kept(rate: float) -> None:
    loop = VirtualLoop()

    async def main() -> list[float]:
        return await starts_of(LocalGate(rate, clock=VirtualClock(loop)), 50, loop)

    starts = run_virtual(main(), loop)

    assert law.worst_window(starts) <= law.window_size(rate)
    assert 49 / (starts[-1] - starts[0]) <= rate


@pytest.mark.parametrize("lost", [False, True], ids=["file kept", "file lost"])
def test_ten_hours_of_stalls_and_restarts_hold_the_cap(tmp_path: Path, lost: bool) -> None:
    loop = VirtualLoop()
    rng = random.Random(7)

    async def main() -> list[float]:
        found: list[float] = []
        while loop.time() < 1000.0 + 36_000:
            file = QuotaFile(tmp_path, QUOTA)
            gate = LocalGate(20.0, clock=VirtualClock(loop), file=file)
            for _ in range(rng.randrange(1, 400)):
                if rng.random() < 0.02:
                    loop.stall(rng.expovariate(1.0))
                token = await gate.start()
                found.append(loop.time())
                gate.replied(token, throttled=rng.random() < 0.002)
            gate.close()
            if lost:
                next(tmp_path.iterdir()).unlink()
            if rng.random() < 0.9:
                loop.stall(rng.uniform(0, 120))
        return found

    starts = run_virtual(main(), loop)

    assert len(starts) > 50_000
    assert law.worst_window(starts) <= 20


def test_two_gates_on_one_file_keep_one_cap(tmp_path: Path) -> None:
    loop = VirtualLoop()

    async def main() -> list[float]:
        found: list[float] = []

        async def process() -> None:
            gate = LocalGate(20.0, clock=VirtualClock(loop), file=QuotaFile(tmp_path, QUOTA))
            found.extend(await starts_of(gate, 200, loop))
            gate.close()

        await asyncio.gather(process(), process(), process())
        return sorted(found)

    starts = run_virtual(main(), loop)

    assert law.worst_window(starts) == 20
    assert 599 / (starts[-1] - starts[0]) / 20 > 0.98


def test_waiters_are_served_in_order_and_a_cancelled_one_takes_nothing() -> None:
    loop = VirtualLoop()

    async def main() -> list[int]:
        gate = LocalGate(20.0, clock=VirtualClock(loop))
        order: list[int] = []

        async def wait(number: int, scope: anyio.CancelScope) -> None:
            with scope:
                await gate.start()
                order.append(number)

        scopes = [anyio.CancelScope() for _ in range(30)]
        async with anyio.create_task_group() as tasks:
            for number, scope in enumerate(scopes):
                tasks.start_soon(wait, number, scope)
            await anyio.sleep(1.2)
            for scope in scopes[10:20]:
                scope.cancel()
        return order

    assert run_virtual(main(), loop) == [*range(10), *range(20, 30)]


def test_strict_is_never_throttled_at_any_jitter() -> None:
    loop = VirtualLoop()
    rng = random.Random(3)

    async def main() -> list[float]:
        gate = LocalGate(20.0, clock=VirtualClock(loop), strict=True)
        arrivals: list[float] = []

        async def call() -> None:
            token = await gate.start()
            await asyncio.sleep(rng.expovariate(1 / 0.08))
            arrivals.append(loop.time())
            await asyncio.sleep(0.05)
            gate.replied(token, throttled=False)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(1500):
                tasks.create_task(call())
        return sorted(arrivals)

    assert law.worst_window(run_virtual(main(), loop)) <= 20


def test_a_shared_quota_backs_off_instead_of_being_throttled_for_ever() -> None:
    loop = VirtualLoop()

    async def main() -> tuple[int, int]:
        gate = LocalGate(20.0, clock=VirtualClock(loop))
        ours: list[float] = []
        throttled = late = 0
        for number in range(3000):
            token = await gate.start()
            now = loop.time()
            ours = [t for t in ours if now - t < 1.0] + [now]
            refused = len(ours) + 10 > 20  # others take half of the quota
            throttled += refused
            late += refused and number > 1000
            gate.replied(token, throttled=refused)
        return throttled, late

    throttled, late = run_virtual(main(), loop)

    assert throttled < 300
    assert late / 2000 < 0.02


CHILD = """
import sys, time, asyncio
from pathlib import Path
from batchsnap.clock import LoopClock
from batchsnap.model import Quota
from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import QuotaFile
async def main():
    quota = Quota("env", "cbs.example.com", "CreateSnapshot")
    gate = LocalGate(200.0, clock=LoopClock(), file=QuotaFile(Path(sys.argv[1]), quota))
    while True:
        await gate.start()
        print(time.monotonic(), flush=True)
asyncio.run(main())
"""


def test_real_processes_share_one_cap_and_a_killed_one_holds_up_nobody(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    starts: list[float] = []
    for number, child in enumerate(children):
        assert child.stdout is not None
        for _ in range(60 if number else 20):
            starts.append(float(child.stdout.readline()))
        if number == 0:
            child.send_signal(signal.SIGKILL)
    for child in children:
        child.kill()
        out, _ = child.communicate()
        starts += [float(line) for line in out.splitlines() if line.count(".") == 1]

    assert law.worst_window(sorted(starts)) <= 200


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 200, b"x" * 200_000])
def test_a_strange_file_starts_afresh(tmp_path: Path, content: bytes) -> None:
    QuotaFile(tmp_path, QUOTA).close()
    [path] = tmp_path.iterdir()
    path.write_bytes(content)
    file = QuotaFile(tmp_path, QUOTA)
    with file.locked() as held:
        assert held
        assert file.tally(5.0) == (0, float("-inf"))
        file.add(0, 5.0, 5.0)
        assert file.tally(6.0) == (1, 5.0)
        assert file.nth_last(1, 1) == 5.0
        assert file.tally(4.0).total == 0
    file.close()


def test_the_names_of_quotas_do_not_meet(tmp_path: Path) -> None:
    for quota in (QUOTA, QUOTA._replace(source="profile:a"), QUOTA._replace(host="h")):
        QuotaFile(tmp_path, quota).close()

    assert len(list(tmp_path.iterdir())) == 3
    assert json.dumps([p.stat().st_mode & 0o777 for p in tmp_path.iterdir()]) == "[384, 384, 384]"
