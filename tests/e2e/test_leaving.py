"""When a call leaves: after its connection is there, and not before it may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from batchsnap.client.account import Start
from batchsnap.clock import LoopClock
from batchsnap.cloud.transport import Transport
from batchsnap.model import Fault, Reply
from tests.raw import OK, request, saying, server

pytestmark = pytest.mark.anyio


class Asked:
    """A start whose leave is what `leave` waits for; notes when it was asked and told."""

    def __init__(self, leave: Callable[[], Awaitable[object]]) -> None:
        self._leave = leave
        self.story: list[str] = []

    async def leave(self) -> None:
        self.story.append("leave")
        await self._leave()

    def left(self) -> None:
        self.story.append("left")


async def test_a_call_waits_with_its_connection_open_and_no_byte_sent() -> None:
    asked, may = asyncio.Event(), asyncio.Event()

    async def leave() -> None:
        asked.set()
        await may.wait()

    async with server(saying(OK)) as seen, Transport() as transport:
        call = asyncio.ensure_future(transport.send(request(seen.url), 20.0, Asked(leave)))
        await asked.wait()
        while not seen.connections:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert seen.heads == []
        may.set()
        got = await call

    assert isinstance(got, Reply)
    assert len(seen.bodies) == 1


async def test_a_call_that_may_not_leave_in_time_was_surely_not_sent() -> None:
    async with server(saying(OK)) as seen, Transport() as transport:
        got = await transport.send(request(seen.url), 0.2, Asked(asyncio.Event().wait))

    assert isinstance(got, Fault)
    assert not got.sent
    assert seen.heads == []


async def test_a_token_renewed_after_the_stop_sends_nothing() -> None:
    class Late:
        """Its tokens come too late."""

        rate_per_s = 20.0

        async def start(self) -> int:
            return 1

        def leave(self, token: int) -> bool:
            return token == 1

        def left(self, token: int) -> None:
            """Nothing is dated."""

        def replied(self, token: int, *, throttled: bool) -> None:
            """Nothing is learned."""

        def pause(self, seconds: float) -> None:
            """Nothing is paced."""

    async with server(saying(OK)) as seen, Transport() as transport:
        got = await transport.send(
            request(seen.url), 20.0, Start(Late(), 0, LoopClock(), lambda: False)
        )
        again = await transport.send(request(seen.url), 20.0, Start(Late(), 0, LoopClock()))

    assert isinstance(got, Fault)
    assert not got.sent
    assert isinstance(again, Reply)
    assert len(seen.heads) == 1


async def test_latency_counts_from_when_a_call_left() -> None:
    loop = asyncio.get_running_loop()
    left_at = 0.0

    async def leave() -> None:
        nonlocal left_at
        await asyncio.sleep(0.05)
        left_at = loop.time()

    async with server(saying(OK)) as seen, Transport() as transport:
        got = await transport.send(request(seen.url), 20.0, Asked(leave))
        back = loop.time()

    assert got.latency_ms <= (back - left_at) * 1000
