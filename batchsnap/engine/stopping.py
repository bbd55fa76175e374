"""Reasons to stop feeding, and the signals that give one."""

from __future__ import annotations

import math
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from batchsnap.errors import Exit

_EXIT = {
    signal.SIGINT: Exit.INTERRUPTED,
    signal.SIGTERM: Exit.TERMINATED,
    signal.SIGHUP: Exit.TERMINATED,
}


class Stop:
    """Set once: no row is started after it, replies that are out are waited for."""

    def __init__(self) -> None:
        self.exit: Exit | None = None  # what the run then ends with
        self.reason = ""
        self._event = anyio.Event()
        self._scopes: set[anyio.CancelScope] = set()

    @property
    def stopping(self) -> bool:
        return self._event.is_set()

    def request(self, exit_code: Exit, reason: str) -> None:
        """Stop feeding; the first reason counts."""
        if self.stopping:
            return
        self.exit, self.reason = exit_code, reason
        self._event.set()
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def ends(self, within_s: float = math.inf) -> Iterator[anyio.CancelScope]:
        """Waits inside this block end at the stop, or after so long; what was half done there is
        left."""
        with anyio.move_on_after(within_s) as scope:
            if self.stopping:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)


@asynccontextmanager
async def bounded(stop: Stop, seconds: float) -> AsyncIterator[None]:
    """Request a stop after so long, 0 for never, while the block runs."""

    async def end() -> None:
        await anyio.sleep(seconds)
        stop.request(Exit.UNFINISHED, "--max-duration")

    async with anyio.create_task_group() as tasks:
        if seconds:
            tasks.start_soon(end)
        yield
        tasks.cancel_scope.cancel()


async def watch_signals(stop: Stop, say: Callable[[str], None], cancel: Callable[[], None]) -> None:
    """The first SIGINT, SIGTERM or SIGHUP drains; the second cancels at once."""
    with anyio.open_signal_receiver(*_EXIT) as signals:
        async for number in signals:
            if stop.stopping and stop.exit in _EXIT.values():
                cancel()
                say("second signal: stopping at once; the next run settles what was out")
                return
            name = signal.Signals(number).name
            stop.request(_EXIT[signal.Signals(number)], name)
            say(f"{name}: waiting for replies that are out; once more stops at once")
