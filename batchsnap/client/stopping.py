"""Reasons to stop feeding, and the signals that give one."""

from __future__ import annotations

import math
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from batchsnap.errors import Exit

BOUND = "--max-duration"
"""The reason of a stop that is of the whole run, not of this process."""
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
        self.stopping = False
        self._scopes: set[anyio.CancelScope] = set()
        self._told: list[Callable[[], None]] = []

    def request(self, exit_code: Exit, reason: str) -> None:
        """Stop feeding; the first reason counts."""
        if self.stopping:
            return
        self.exit, self.reason = exit_code, reason
        self.stopping = True
        for scope in self._scopes:
            scope.cancel()
        for hear in self._told:
            hear()

    def tell(self, hear: Callable[[], None]) -> None:
        """Call `hear` at the stop, or at once where there was one."""
        self._told.append(hear)
        if self.stopping:
            hear()

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
        stop.request(Exit.UNFINISHED, BOUND)

    async with anyio.create_task_group() as tasks:
        if seconds:
            tasks.start_soon(end)
        yield
        tasks.cancel_scope.cancel()


def heeded() -> list[signal.Signals]:
    """The signals that stop this process. SIGINT and SIGHUP that whoever started it had it ignore
    (nohup, a script's background job) stay ignored; SIGTERM always counts."""
    return [
        number
        for number in _EXIT
        if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]


async def watch_signals(stop: Stop, say: Callable[[str], None], cancel: Callable[[], None]) -> None:
    """The first SIGINT, SIGTERM or SIGHUP drains; the second cancels at once."""
    with anyio.open_signal_receiver(*heeded()) as signals:
        async for number in signals:
            if stop.stopping and stop.exit in _EXIT.values():
                cancel()
                say("second signal: stopping at once; the next run settles what was out")
                return
            name = signal.Signals(number).name
            stop.request(_EXIT[signal.Signals(number)], name)
            say(f"{name}: waiting for replies that are out; once more stops at once")
