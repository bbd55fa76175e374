"""Owns the server: a socket before a `Cloud`; `serve` opens and closes it on the running loop, and
`EmbeddedSimulator` runs it in a thread with a loop of its own.

`run --simulate` and `demo` use the thread, so that the engine's loop is paced and measured as if
the cloud were elsewhere.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from typing import Any, Self, TypeVar

from aiohttp import web

from batchsnap.simulator.account import Cloud
from batchsnap.simulator.auth import DEFAULT_KEYS, Authenticator, VerifiedCall
from batchsnap.simulator.control import Control
from batchsnap.simulator.outcomes import jitter_s, latency_s
from batchsnap.simulator.requests import OF_STS, Refused
from batchsnap.simulator.respond import Scene, envelope, error_payload, headers_of, reply, respond
from batchsnap.simulator.scenario import Scenario
from batchsnap.simulator.world import World


def steady_clock() -> Callable[[], float]:
    """Unix seconds that never step back: the wall clock of now, carried on by the monotonic one."""
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()


class Simulator:
    """A running simulated cloud. `url` is where it listens."""

    def __init__(
        self,
        scenario: Scenario,
        fleet: Iterable[tuple[str, str]] | None,
        credentials: Mapping[str, str],
        now: Callable[[], float],
    ) -> None:
        self.url = ""
        self.now = now
        self.cloud = Cloud(scenario, fleet)
        self.authenticator = Authenticator(credentials)
        self._control = Control(self.cloud, self.authenticator)
        self._arrivals = 0
        self._date = (0, "")
        self._busy: set[asyncio.Task[Any]] = set()

    @property
    def scenario(self) -> Scenario:
        """The scenario in force; `change` replaces it."""
        return self.cloud.scenario

    @property
    def world(self) -> World:
        """What exists in this cloud."""
        return self.cloud.world

    def change(self, scenario: Scenario) -> None:
        """Go by another scenario from here on."""
        self.cloud.change(scenario)

    def state(self, *, brief: bool = False) -> dict[str, Any]:
        """What `/_sim/state` prints."""
        return self.cloud.state(self.now(), brief=brief)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request of any kind."""
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            if request.path == "/":
                return await self._api(request)
            return await self._control.answer(request, self.now())
        finally:
            self._busy.discard(task)

    async def hang_up(self) -> None:
        """End what still sleeps, replies never to be given among it."""
        sleepers = list(self._busy)
        for task in sleepers:
            task.cancel()
        await asyncio.gather(*sleepers, return_exceptions=True)

    async def _api(self, request: web.BaseRequest) -> web.StreamResponse:
        scenario = self.cloud.scenario
        self._arrivals += 1
        number = self._arrivals
        held_up_s = jitter_s(scenario, number)
        if held_up_s:
            await asyncio.sleep(held_up_s)
        body = await self._read(request)
        now = self.now()
        server_time = now + scenario.clock_offset_s
        latency = latency_s(scenario, number)
        request_id = f"51a7e000-0000-4000-8000-{number:012x}"
        try:
            if scenario.bad_credentials:
                raise Refused("AuthFailure.SecretIdNotFound", "There is no such SecretId.")
            if body is None:
                raise Refused("RequestSizeLimitExceeded", "The body is too large.")
            call = self.authenticator.check(request.method, request.headers, body, server_time)
            outcome, checked = self.cloud.admit(
                call.action, call.secret_id, call.region, call.body, now
            )
        except Refused as refused:
            if latency > 0:
                await asyncio.sleep(latency)
            return reply(
                envelope(error_payload(refused), request_id), self._headers_at(server_time)
            )
        before_s = latency * scenario.commit_at
        scene = Scene(
            outcome,
            lambda: self._perform(call, checked),
            request_id,
            self._headers_at(server_time),
            before_s,
            latency - before_s,
        )
        return await respond(scene, request)

    def _perform(self, call: VerifiedCall, body: Mapping[str, Any]) -> dict[str, Any]:
        if call.action not in OF_STS:
            return self.cloud.perform(call.action, call.region, body, self.now())
        scenario = self.cloud.scenario
        server_time = self.now() + scenario.clock_offset_s
        return self.authenticator.perform(
            call.action, call.secret_id, body, scenario.seed, server_time
        )

    async def _read(self, request: web.BaseRequest) -> bytes | None:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge:
            return None

    def _headers_at(self, server_time: float) -> dict[str, str]:
        second = int(server_time)
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return headers_of(self._date[1], self.cloud.scenario.visible_after_s)


@asynccontextmanager
async def serve(
    scenario: Scenario | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    fleet: Iterable[tuple[str, str]] | None = None,
    credentials: Mapping[str, str] | None = None,
    now: Callable[[], float] | None = None,
) -> AsyncIterator[Simulator]:
    """A simulated cloud on the running loop, for as long as the context is open.

    `fleet` is (disk id, region) pairs, without it every well-formed id exists; `credentials`
    maps SecretId to SecretKey, `*` meaning any other SecretId; `now` gives Unix seconds and must
    never go back. Port 0 takes a free one. Raises OSError where the address can't be had.
    """
    simulator = Simulator(
        scenario or Scenario(), fleet, credentials or DEFAULT_KEYS, now or steady_clock()
    )
    runner = web.ServerRunner(
        web.Server(simulator.handle, access_log=None),
        shutdown_timeout=0.1,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        simulator.url = f"http://{shown}:{address[1]}"
        yield simulator
    finally:
        await simulator.hang_up()
        await runner.cleanup()


T = TypeVar("T")


class EmbeddedSimulator:
    """A context manager; takes what `serve` takes. Entering raises OSError as `serve` does."""

    def __init__(
        self,
        scenario: Scenario | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        fleet: Iterable[tuple[str, str]] | None = None,
        credentials: Mapping[str, str] | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._open = partial(
            serve, scenario, host=host, port=port, fleet=fleet, credentials=credentials, now=now
        )
        self._ready: Future[Simulator] = Future()
        self._thread = threading.Thread(target=self._main, name="simulator", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def simulator(self) -> Simulator:
        """The running simulator. It belongs to the other thread: look, don't touch."""
        return self._ready.result(timeout=0)

    @property
    def url(self) -> str:
        """Where it listens, as `http://127.0.0.1:PORT`."""
        return self.simulator.url

    def state(self, *, brief: bool = False) -> dict[str, Any]:
        """What `/_sim/state` prints; also after the end."""
        return self._there(lambda: self.simulator.state(brief=brief))

    def change(self, scenario: Scenario) -> None:
        """Go by another scenario from here on."""
        self._there(lambda: self.simulator.change(scenario))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _there(self, question: Callable[[], T]) -> T:
        """Ask in the simulator's thread, where nothing changes meanwhile."""
        if self._loop is None or not self._thread.is_alive():
            return question()

        async def ask() -> T:
            return question()

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result()

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self._open() as simulator:
            self._ready.set_result(simulator)
            await self._stop.wait()
