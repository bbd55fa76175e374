"""The right to send: how long it lasts, and what ends it, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from batchsnap.client.connections import LeasedGate
from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import Shut
from batchsnap.postgres.lease import LEASE_S, Clocks, Lease, Moment, grace_s
from tests.virtual import VirtualClock, VirtualLoop, run_virtual


class VirtualClocks(Clocks):
    """Three clocks that go together, until one of them is moved."""

    wall_s = boot_s = 0.0

    def now(self) -> Moment:
        at = self._clock.monotonic()
        return Moment(at, at + self.wall_s, at + self.boot_s)


Scene = Callable[[Lease, VirtualClocks, LeasedGate, VirtualLoop], Awaitable[None]]


def play(scene: Scene, rate: float = 20.0) -> None:
    loop = VirtualLoop()

    async def main() -> None:
        clocks = VirtualClocks(VirtualClock(loop))
        lease = Lease(clocks)
        gate = LocalGate(rate, clock=VirtualClock(loop))
        await scene(lease, clocks, LeasedGate(gate, lease), loop)

    run_virtual(main(), loop)


def test_it_lasts_from_when_the_question_was_sent() -> None:
    async def scene(
        lease: Lease, clocks: VirtualClocks, gate: LeasedGate, loop: VirtualLoop
    ) -> None:
        assert not lease.holds()
        asked = clocks.now()
        await asyncio.sleep(1.5)
        lease.renew(asked)
        assert lease.holds()
        await asyncio.sleep(LEASE_S - 1.5 + 0.01)
        assert not lease.holds()

    play(scene)


@pytest.mark.parametrize("moved", ["wall_s", "boot_s"])
@pytest.mark.parametrize("by_s", [LEASE_S + 1, -LEASE_S - 1])
def test_a_clock_that_was_set_or_a_machine_that_slept_voids_it(moved: str, by_s: float) -> None:
    async def scene(
        lease: Lease, clocks: VirtualClocks, gate: LeasedGate, loop: VirtualLoop
    ) -> None:
        lease.renew(clocks.now())
        setattr(clocks, moved, by_s)
        assert not lease.holds()

    play(scene)


def test_a_new_session_has_proved_nothing_and_a_lost_quota_never_comes_back() -> None:
    async def scene(
        lease: Lease, clocks: VirtualClocks, gate: LeasedGate, loop: VirtualLoop
    ) -> None:
        lease.renew(clocks.now())
        lease.void()
        assert not lease.holds()
        lease.renew(clocks.now())
        assert await lease.held()
        lease.end("taken")
        lease.renew(clocks.now())
        assert not lease.holds()
        assert not await lease.held()

    play(scene)


def test_a_durable_intent_whose_owner_was_replaced_never_leaves() -> None:
    """It waits at a gate that rests, while its owner is cut off and the quota goes to another."""

    async def scene(
        lease: Lease, clocks: VirtualClocks, gate: LeasedGate, loop: VirtualLoop
    ) -> None:
        lease.renew(clocks.now())
        gate.pause(60.0)
        waiting = asyncio.ensure_future(gate.start())
        await asyncio.sleep(10.0)
        lease.end("another process owns this quota now")
        with pytest.raises(Shut, match="another process"):
            await waiting
        assert loop.time() < 1000.0 + 62.0

    play(scene)


def test_who_waits_for_a_lease_starts_once_it_is_there_and_no_token_is_spent_meanwhile() -> None:
    async def scene(
        lease: Lease, clocks: VirtualClocks, gate: LeasedGate, loop: VirtualLoop
    ) -> None:
        waiting = [asyncio.ensure_future(gate.start()) for _ in range(3)]
        await asyncio.sleep(30.0)
        assert not any(task.done() for task in waiting)
        lease.renew(clocks.now())
        began = loop.time()
        for task in waiting:
            assert gate.leave(await task)
        assert loop.time() - began < 0.2

    play(scene)


def test_a_token_is_void_where_the_lease_ran_out_before_the_bytes_were_written() -> None:
    async def scene(
        lease: Lease, clocks: VirtualClocks, gate: LeasedGate, loop: VirtualLoop
    ) -> None:
        asked = clocks.now()
        await asyncio.sleep(1.5)
        lease.renew(asked)
        token = await gate.start()
        await asyncio.sleep(0.6)  # the token itself would live on
        assert not gate.leave(token)
        lease.renew(clocks.now())
        assert gate.leave(await gate.start())

    play(scene)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 2.5, 20.0, 400.0])
def test_a_new_owner_starts_a_whole_window_after_all_that_the_former_could_send(
    rate: float,
) -> None:
    """The former asked at the very moment of the take-over, took a token at the last moment of
    its lease, and its call left when that token was about to die."""

    async def scene(
        lease: Lease, clocks: VirtualClocks, gate: LeasedGate, loop: VirtualLoop
    ) -> None:
        window_s = max(1.0, 1.0 / rate)
        last = LEASE_S + 0.9 * window_s
        assert grace_s(rate) > last + window_s

    play(scene, rate)
