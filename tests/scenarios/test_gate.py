"""The gate on virtual time: the cap holds through stalls and restarts, the margin learns."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import QuotaFile
from batchsnap.settings import STRICT_HOLD_S
from benchmarks.pacing import simulate
from tests.gates import QUOTA, starts_of
from tests.virtual import VirtualClock, VirtualLoop, run_virtual
from tests.windows import worst_window


@pytest.mark.parametrize(("hours", "lost"), [(10, False), (2, True)], ids=["kept", "file lost"])
def test_hours_of_stalls_and_restarts_hold_the_cap(tmp_path: Path, hours: int, lost: bool) -> None:
    loop = VirtualLoop(late_s=0.001)
    rng = random.Random(7)

    async def main() -> list[float]:
        found: list[float] = []
        while loop.time() < 1000.0 + hours * 3600:
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

    assert len(starts) > 5000 * hours
    assert worst_window(starts) <= 20


def test_a_host_that_is_slow_to_send_holds_the_cap(tmp_path: Path) -> None:
    """What counts is when calls leave: a little late here, or seconds late and all at once, with
    replies that come late too, or never."""
    loop = VirtualLoop(late_s=0.001)
    rng = random.Random(3)

    async def main() -> list[float]:
        found: list[float] = []
        gate = LocalGate(20.0, clock=VirtualClock(loop), file=QuotaFile(tmp_path, QUOTA))

        async def call() -> None:
            token = await gate.start()
            await asyncio.sleep(rng.choice([0.0, 0.001, rng.uniform(0.0, 0.04)]))
            if 1020 < loop.time() < 1024:
                await asyncio.sleep(1024 - loop.time())  # no connection is to be had
            while not gate.leave(token):
                token = await gate.start()
            found.append(loop.time())
            await asyncio.sleep(rng.choice([0.12, 0.12, 2.0, 30.0]))
            gate.replied(token, throttled=False)

        await asyncio.gather(*(call() for _ in range(4000)))
        gate.close()
        return sorted(found)

    left = run_virtual(main(), loop)

    assert worst_window(left) == 20
    assert len(left) / (left[-1] - left[0] - 4) > 20 * 0.97


def test_gates_on_one_file_hear_of_each_others_late_calls(tmp_path: Path) -> None:
    loop = VirtualLoop()

    async def main() -> float:
        clock = VirtualClock(loop)
        one, other = (
            LocalGate(20.0, clock=clock, file=QuotaFile(tmp_path, QUOTA)) for _ in range(2)
        )
        late = await one.start()
        await asyncio.sleep(0.04)
        assert one.leave(late)
        left_at = loop.time()
        await starts_of(other, 1, loop)
        starts = await starts_of(other, 19, loop)
        one.close()
        other.close()
        return starts[-1] - left_at

    assert run_virtual(main(), loop) > 1.0


@pytest.mark.parametrize("rates", [(20.0, 20.0, 20.0), (20.0, 20.0, 5.0)], ids=str)
def test_gates_on_one_file_keep_one_cap_and_none_starves(
    tmp_path: Path, rates: tuple[float, ...]
) -> None:
    loop = VirtualLoop(late_s=0.001)
    found: list[list[float]] = [[] for _ in rates]

    async def process(rate: float, mine: list[float]) -> None:
        gate = LocalGate(rate, clock=VirtualClock(loop), file=QuotaFile(tmp_path, QUOTA))
        while loop.time() < 1060:
            mine.extend(await starts_of(gate, 1, loop))
        gate.close()

    async def main() -> None:
        await asyncio.gather(*(process(*pair) for pair in zip(rates, found, strict=True)))

    run_virtual(main(), loop)

    starts = sorted(start for mine in found for start in mine)
    assert worst_window(starts) == 20
    assert len(starts) / 59 / 20 > 0.98
    for rate, mine in zip(rates, found, strict=True):
        assert worst_window(mine) <= rate
        assert len(mine) > 59 * min(rate, 20 / len(rates)) * 0.8


# -- what the margin learns ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jitter_s", "goodput", "throttled"), [(0.0, 99.0, 0.0), (0.005, 97.5, 0.2), (0.02, 92.3, 0.3)]
)
def test_the_margin_learns_the_network(jitter_s: float, goodput: float, throttled: float) -> None:
    found = simulate("batchsnap", jitter_s, 20_000, fixed=False)

    assert found["goodput_pct"] >= goodput
    assert found["throttled_pct"] <= throttled
    assert found["worst_second"] == 20


@pytest.mark.parametrize(
    ("jitter_s", "goodput", "throttled"), [(0.005, 97.3, 0.15), (0.02, 92.3, 0.3)]
)
def test_a_network_known_from_earlier_is_not_learned_again(
    jitter_s: float, goodput: float, throttled: float
) -> None:
    known_s = simulate("batchsnap", jitter_s, 5000, fixed=False, seed=99)["margin_s"]
    runs = [
        simulate("batchsnap", jitter_s, 400, fixed=False, seed=seed, known_s=known_s)
        for seed in range(5)
    ]

    assert sum(run["goodput_pct"] for run in runs) / 5 >= goodput
    assert sum(run["throttled_pct"] for run in runs) / 5 <= throttled


@pytest.mark.parametrize("jitter_s", [0.0, 0.005, 0.02, 0.08, 0.5])
def test_strict_is_never_throttled_at_any_jitter(jitter_s: float) -> None:
    assert simulate("batchsnap --strict", jitter_s, 3_000, fixed=False)["throttled_pct"] == 0


@pytest.mark.parametrize(("others", "least"), [(5, 0.9), (10, 0.9), (15, 0.8)])
def test_a_shared_quota_is_yielded_to_and_neither_hammered_nor_left(
    others: int, least: float
) -> None:
    loop = VirtualLoop()

    async def main() -> tuple[int, float]:
        gate = LocalGate(20.0, clock=VirtualClock(loop))
        await starts_of(gate, 1, loop)
        ours: list[float] = []
        refusals: list[bool] = []
        began = loop.time()
        while loop.time() < began + 600:
            token = await gate.start()
            now = loop.time()
            ours = [t for t in ours if now - t < 1.0] + [now]
            refusals.append(len(ours) + others > 20)
            gate.replied(token, throttled=refusals[-1])
        late = refusals[len(refusals) // 2 :]
        return refusals.count(False), sum(late) / len(late)

    accepted, refused = run_virtual(main(), loop)

    assert 0.01 < refused < 0.04
    assert accepted / 600 > (20 - others) * least


# -- strict among processes ----------------------------------------------------------------------


def test_strict_gates_share_their_slots_and_a_dead_one_gives_them_back(tmp_path: Path) -> None:
    loop = VirtualLoop()

    async def main() -> tuple[float, float, float]:
        clock = VirtualClock(loop)
        dead, alive = (
            LocalGate(20.0, clock=clock, file=QuotaFile(tmp_path, QUOTA), strict=True)
            for _ in range(2)
        )
        await dead.start()
        first_dead = loop.time()
        for _ in range(14):
            await dead.start()
        tokens = [await alive.start() for _ in range(5)]
        loop.call_later(3.0, lambda: alive.replied(tokens[0], throttled=False))
        answered = loop.time() + 3.0
        freed = await alive.start()  # all slots are taken: an answer makes room
        after_answer = loop.time() - answered
        await alive.start()  # only the time of the dead does
        after_death = loop.time() - first_dead
        alive.replied(freed, throttled=False)
        dead.close()
        alive.close()
        dead.replied(0, throttled=False)  # late news to a closed gate
        return after_answer, after_death, loop.time()

    after_answer, after_death, _ = run_virtual(main(), loop)

    assert 1.0 < after_answer < 1.1
    assert STRICT_HOLD_S <= after_death < STRICT_HOLD_S + 0.1


def test_a_strict_slot_is_held_from_when_the_bytes_were_written(tmp_path: Path) -> None:
    loop = VirtualLoop()

    async def main() -> tuple[float, float]:
        clock = VirtualClock(loop)
        gate = LocalGate(20.0, clock=clock, file=QuotaFile(tmp_path, QUOTA), strict=True)
        token = await gate.start()
        assert gate.leave(token)
        loop.stall(30.0)
        gate.left(token)
        written = loop.time()
        for _ in range(19):
            await gate.start()
        await gate.start()  # no reply to any: the first slot whose time is over
        gate.close()
        return written, loop.time()

    written, freed = run_virtual(main(), loop)

    assert STRICT_HOLD_S <= freed - written < STRICT_HOLD_S + 0.1
