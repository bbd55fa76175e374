"""Progress of a run on stderr: a small live view on a terminal, a plain line now and then else.

Everything shown is read from the ledger's fold; nothing here is told to the engine.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
from anyio.abc import TaskGroup

from batchsnap.cli.output import note, on_terminal, record_line, say, spoken_above, talk_writer
from batchsnap.settings import duration_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from batchsnap.client.stopping import Stop
    from batchsnap.job.run import Prepared
    from batchsnap.ledger.record import Record
    from batchsnap.report.progress import Glance, Progress

_LIVE_S = 0.5  # a faster view costs the sender's loop
_PLAIN_S = 10.0
_TOLD = (
    *("rows", "done", "pending", "deferred", "in_doubt", "failed", "owed", "flying"),
    "rate_per_s",
)


Sight = Callable[[float], Awaitable["Glance"]]
"""What there is to show at a moment, in Unix seconds."""


class Frame(NamedTuple):
    """What is shown at one moment."""

    progress: Progress
    elapsed_s: float
    note: str
    why: str = ""  # rows wait
    owners: Sequence[str] = ()  # who works on what, where quotas have owners

    def to_json(self) -> dict[str, Any]:
        """For the JSON log."""
        told = {name: getattr(self.progress, name) for name in _TOLD}
        rest = {"elapsed_s": self.elapsed_s, "note": self.note, "why": self.why}
        owners = {"owners": [text.strip() for text in self.owners]} if self.owners else {}
        return {**told, **rest, **owners}


class Meter:
    """Frames of what `sight` looks at."""

    def __init__(self, sight: Sight, stop: Stop) -> None:
        self._sight = sight
        self._stop = stop
        self._began = time.monotonic()

    async def frame(self) -> Frame:
        from batchsnap.owners.quotas import screen_lines

        now = time.time()
        progress, why, quotas = await self._sight(now)
        note = "draining" if self._stop.stopping else f"{progress.flying} out"
        elapsed_s = time.monotonic() - self._began
        return Frame(progress, elapsed_s, note, why, screen_lines(quotas, now))


def line(frame: Frame) -> str:
    """A frame as one plain line: at most 80 columns or so, why rows wait, how many own quotas."""
    now = frame.progress
    if not now.rows and frame.why:  # nothing could be read yet
        return frame.why
    more = [frame.why, *(owner.strip() for owner in frame.owners[:1])]
    return (
        f"{now.done:,}/{now.rows:,} done, {now.rate_per_s:.1f}/s, ETA {now.eta}, "
        f"{now.deferred} deferred, {now.in_doubt} in doubt, {now.failed} failed"
        + "".join(f"; {text}" for text in more if text)
    )


def drawn_frame(frame: Frame) -> RenderableType:
    """A frame as a few lines for a terminal."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    now = frame.progress
    counts = Text("  ")
    counts.append(f"{now.done:,} done", "bold green")
    counts.append(f" of {now.rows:,}   ")
    for number, word, style in (
        (now.pending, "pending", "dim"),
        (now.deferred, "deferred", "yellow"),
        (now.in_doubt, "in doubt", "magenta"),
        (now.failed, "failed", "bold red"),
    ):
        counts.append(f"{number:,} {word}   ", style if number else "dim")
    pace = Text(
        f"  {now.rate_per_s:.1f}/s   ETA {now.eta}   {duration_text(frame.elapsed_s)} so far   "
        f"{frame.note}",
        "dim",
    )
    bar = ProgressBar(total=max(1, now.rows), completed=now.done + now.failed, width=74)
    grid = Table.grid()  # a bar by itself ends no line
    reason = Text(f"  {frame.why}", "yellow", no_wrap=True, overflow="ellipsis")
    for part in (bar, counts, pace):
        grid.add_row(part)
    if frame.why:
        grid.add_row(reason)
    for owner in frame.owners:
        grid.add_row(Text(owner, "dim", no_wrap=True, overflow="ellipsis"))
    return grid


def showing(
    prepared: Prepared, stop: Stop, options: dict[str, Any]
) -> AbstractAsyncContextManager[TaskGroup]:
    """Show a run's progress while the block runs, as `shown` does."""
    from batchsnap.report.progress import look_at

    async def sight(now: float) -> Glance:
        return look_at(prepared.fold, now)

    return shown(sight, prepared.taps, stop, options)


@asynccontextmanager
async def shown(
    sight: Sight, taps: list[Callable[[Record], None]], stop: Stop, options: dict[str, Any]
) -> AsyncIterator[TaskGroup]:
    """Show progress while the block runs, and each kind of fault as it first comes; yields a task
    group that ends with it."""
    if not options.get("verbose"):  # which says them all
        taps.append(_faults_told())
    async with tapped(taps, options) as tasks:
        if not options.get("quiet"):
            drawn = on_terminal() and not options.get("verbose")
            tasks.start_soon(_live if drawn else _plain, Meter(sight, stop))
        yield tasks


@asynccontextmanager
async def tapped(
    taps: list[Callable[[Record], None]], options: dict[str, Any]
) -> AsyncIterator[TaskGroup]:
    """Say records as -v asks for; yields a task group that ends with the block."""
    if verbose := options.get("verbose", 0):
        taps.append(lambda record: _say_record(record, verbose))
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        finally:
            tasks.cancel_scope.cancel()


def _faults_told() -> Callable[[Record], None]:
    from batchsnap.report.progress import FirstFaults

    faults = FirstFaults()

    def tell(record: Record) -> None:
        if text := faults.take(record):
            note(text)

    return tell


def _say_record(record: Record, verbose: int) -> None:
    if text := record_line(record, verbose):
        say(text, record=record)


async def _plain(meter: Meter) -> None:
    while True:
        await anyio.sleep(_PLAIN_S)
        frame = await meter.frame()
        say(line(frame), progress=frame.to_json())


async def _live(meter: Meter) -> None:
    from rich.console import Console
    from rich.live import Live

    console, writer = Console(stderr=True), talk_writer()
    with (
        Live(console=console, auto_refresh=False, transient=True) as live,
        spoken_above(console),
    ):
        while True:
            if writer is None or not writer.behind:  # pictures leave room for words
                live.update(drawn_frame(await meter.frame()), refresh=True)
            await anyio.sleep(_LIVE_S)
