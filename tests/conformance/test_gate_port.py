"""What every gate keeps, whoever made it. To add one: a maker in GATES."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from batchsnap.client.connections import LeasedGate
from batchsnap.client.ports import Gate
from batchsnap.pacing import law
from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import QuotaFile
from batchsnap.postgres.lease import Clocks, Lease
from tests.gates import QUOTA, starts_of
from tests.virtual import VirtualClock, VirtualLoop, run_virtual
from tests.windows import worst_window

Maker = Callable[[float, VirtualClock, Path], Gate]
Scene = Callable[[Gate, VirtualLoop], Awaitable[None]]


def alone(rate: float, clock: VirtualClock, folder: Path) -> Gate:
    return LocalGate(rate, clock=clock)


def shared(rate: float, clock: VirtualClock, folder: Path) -> Gate:
    return LocalGate(rate, clock=clock, file=QuotaFile(folder, QUOTA))


def strict(rate: float, clock: VirtualClock, folder: Path) -> Gate:
    return LocalGate(rate, clock=clock, file=QuotaFile(folder, QUOTA), strict=True)


def leased(rate: float, clock: VirtualClock, folder: Path) -> Gate:
    """As where many machines work on a run, while the lease holds."""
    return LeasedGate(LocalGate(rate, clock=clock), AlwaysHeld(Clocks(clock)))


class AlwaysHeld(Lease):
    """A lease whose heartbeats are always answered at once."""

    def holds(self) -> bool:
        return True


GATES: list[Maker] = [alone, shared, strict, leased]


@pytest.fixture(params=GATES, ids=lambda maker: maker.__name__)
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Play a scene with a new gate on virtual time."""

    def played(scene: Scene, rate: float = 20.0, late_s: float = 0.0) -> None:
        loop = VirtualLoop(late_s)

        async def main() -> None:
            gate = request.param(rate, VirtualClock(loop), tmp_path)
            with anyio.fail_after(100_000):
                await scene(gate, loop)

        run_virtual(main(), loop)

    return played


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 2.5, 20.0, 400.0])
@pytest.mark.parametrize("late_s", [0.0, 0.001], ids=["punctual", "late"])
def test_the_rate_is_kept_and_nearly_reached(
    play: Callable[..., None], rate: float, late_s: float
) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        opened = loop.time()
        number = 50 + 3 * law.window_size(rate)
        starts = await starts_of(gate, number, loop)

        assert gate.rate_per_s == rate
        assert starts[0] - opened >= 1.0
        assert worst_window(starts) <= law.window_size(rate)
        most = min(rate, law.window_size(rate) / law.window_s(rate))
        assert 0.97 < (number - 1) / (starts[-1] - starts[0]) / most <= 1.0

    play(scene, rate, late_s)


def test_starts_lie_on_a_grid_that_does_not_drift(play: Callable[..., None]) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        starts = await starts_of(gate, 4001, loop)

        assert worst_window(starts) == 20
        assert 4000 / (starts[-1] - starts[0]) / 20 > 0.99  # a relative wait loses one percent more
        assert min(b - a for a, b in pairwise(starts)) > 0.04

    play(scene, late_s=0.001)


def test_what_a_stall_missed_is_not_made_up(play: Callable[..., None]) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        await starts_of(gate, 40, loop)
        loop.stall(5.0)
        starts = await starts_of(gate, 40, loop)

        assert min(b - a for a, b in pairwise(starts)) > 0.05

    play(scene)


def test_waiters_come_in_order_and_a_cancelled_one_takes_nothing(
    play: Callable[..., None],
) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        order: list[int] = []
        starts: list[float] = []
        scopes = [anyio.CancelScope() for _ in range(60)]

        async def wait(number: int) -> None:
            with scopes[number]:
                token = await gate.start()
                order.append(number)
                starts.append(loop.time())
                gate.replied(token, throttled=False)

        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(wait, number)
            await anyio.sleep(1.22)
            done = len(order)
            for scope in scopes[done : done + 30]:  # the first of them holds the turn
                scope.cancel()

        assert 0 < done < 10
        assert order == [*range(done), *range(done + 30, 60)]
        assert max(b - a for a, b in pairwise(starts)) < 0.06

    play(scene)


def test_many_cancelled_waiters_cost_no_start(play: Callable[..., None]) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        await starts_of(gate, 1, loop)
        for _ in range(200):  # each holds the turn when its time is up
            with anyio.move_on_after(0.0001):
                await gate.start()
        began = loop.time()
        await starts_of(gate, 10, loop)

        assert loop.time() - began < 0.55

    play(scene)


def test_a_waiter_cancelled_at_the_last_moment_costs_the_next_one_nothing(
    play: Callable[..., None],
) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        [first] = await starts_of(gate, 1, loop)
        with anyio.move_on_after(2.004):
            await gate.start()
        [second] = await starts_of(gate, 1, loop)

        assert second - first < 2.1

    play(scene, rate=0.5)


def test_a_pause_holds_up_those_who_wait_already(play: Callable[..., None]) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        await starts_of(gate, 3, loop)
        waiting = asyncio.ensure_future(starts_of(gate, 5, loop))
        await asyncio.sleep(0.01)
        paused = loop.time()
        gate.pause(30.0)
        gate.pause(1.0)  # a shorter one does not end it
        starts = await waiting

        assert starts[0] - paused >= 30.0
        assert min(b - a for a, b in pairwise(starts)) > 0.05

    play(scene)


def test_a_start_nobody_reports_holds_up_nobody_for_ever(play: Callable[..., None]) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        for _ in range(20):
            await gate.start()
        began = loop.time()
        await starts_of(gate, 20, loop)

        assert loop.time() - began < 70

    play(scene)


def test_a_call_that_left_late_holds_its_second_from_then(play: Callable[..., None]) -> None:
    """Between a token and the socket a busy host takes its time."""

    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        for _ in range(3):
            first = await gate.start()
            await asyncio.sleep(0.04)
            assert gate.leave(first)
            left_at = loop.time()
            gate.replied(first, throttled=False)
            await starts_of(gate, 19, loop)
            [after] = await starts_of(gate, 1, loop)
            assert left_at + 1.0 < after < left_at + 1.06
            await starts_of(gate, 40, loop)

    play(scene)


def test_a_host_that_stalls_between_the_check_and_the_write_puts_no_other_into_its_second(
    play: Callable[..., None],
) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        for stall_s in (0.3, 1.2, 5.0):
            stalled = await gate.start()
            assert gate.leave(stalled)
            loop.stall(stall_s)
            gate.left(stalled)
            left_at = loop.time()
            gate.replied(stalled, throttled=False)
            await starts_of(gate, 19, loop)
            [after] = await starts_of(gate, 1, loop)
            assert left_at + 1.0 < after < left_at + 1.06
        gate.left(10**9)  # of no start that we know
        gate.left(stalled)  # after its reply

    play(scene)


def test_a_token_that_is_a_second_old_is_void(play: Callable[..., None]) -> None:
    """Calls that waited for a connection must not leave all at once."""

    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        tokens = [await gate.start() for _ in range(20)]
        await asyncio.sleep(1.0)
        assert not any(gate.leave(token) for token in tokens)
        assert not gate.leave(tokens[0])
        began = loop.time()
        fresh = await gate.start()
        assert loop.time() - began < 0.1
        assert gate.leave(fresh)

    play(scene)


def test_a_slow_rate_leaves_time_for_a_slow_connection(play: Callable[..., None]) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        token = await gate.start()
        await asyncio.sleep(5.0)
        assert gate.leave(token)
        left_at = loop.time()
        await gate.start()
        assert loop.time() - left_at >= 10.0

    play(scene, rate=0.1)


def test_throttled_calls_ease_the_pace_and_an_unknown_token_harms_nothing(
    play: Callable[..., None],
) -> None:
    async def scene(gate: Gate, loop: VirtualLoop) -> None:
        before = await starts_of(gate, 41, loop)
        for _ in range(10):
            gate.replied(10**9, throttled=True)
        after = await starts_of(gate, 41, loop)

        assert after[-1] - after[0] > before[-1] - before[0] + 0.05

    play(scene)
