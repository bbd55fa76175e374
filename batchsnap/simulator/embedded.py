"""Owns `EmbeddedSimulator`: the simulated cloud in a thread with a loop of its own.

`run --simulate` and `demo` use it, so that the engine's loop is paced and measured as if the
cloud were elsewhere.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from batchsnap.simulator.app import Simulator, serve
from batchsnap.simulator.scenario import Scenario

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
