"""Progress of a run on stderr: a small live view on a terminal, a plain line now and then else.

Everything shown is read from the ledger's fold; nothing here is told to the engine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
from anyio.abc import TaskGroup

from batchsnap.cli.output import on_terminal, record_line, say, spoken_above, talk_writer
from batchsnap.lifecycle import WORD, State
from batchsnap.plan import duration_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from batchsnap.client.stopping import Stop
    from batchsnap.job.run import Prepared
    from batchsnap.ledger.record import Record

_LIVE_S = 0.5  # a faster view costs the sender's loop
_PLAIN_S = 10.0
_RECENT_S = 15.0  # the rate shown is of so long


class Frame(NamedTuple):
    """What is shown at one moment."""

    rows: int
    done: int
    pending: int
    deferred: int
    in_doubt: int
    failed: int
    owed: int
    rate_per_s: float
    elapsed_s: float
    note: str

    @property
    def eta(self) -> str:
        left = self.rows - self.done - self.failed
        if left <= 0:
            return "asking once more" if self.owed else "0 s"
        if self.rate_per_s <= 0:
            return "?"
        return duration_text(left / self.rate_per_s)


class Meter:
    """Frames from a run's fold."""

    def __init__(self, prepared: Prepared, stop: Stop) -> None:
        self._prepared = prepared
        self._stop = stop
        self._began = time.monotonic()
        done = prepared.intake.done
        self._recent: deque[tuple[float, int]] = deque([(self._began, done)])

    def frame(self) -> Frame:
        ledger = self._prepared.ledger
        fold = ledger.fold if ledger is not None else self._prepared.fold
        words = dict.fromkeys(WORD.values(), 0)
        flying = 0
        for state, number in fold.counts.items():
            if state is State.SENT:
                flying = number
            else:
                words[WORD[state]] += number
        rows = self._prepared.intake.rows
        done = words["accepted"] + words["ready"]
        failed = words["rejected"] + words["gave_up"] + words["vanished"] + words["deleted"]
        now = time.monotonic()
        self._recent.append((now, done))
        while len(self._recent) > 2 and now - self._recent[1][0] > _RECENT_S:
            self._recent.popleft()
        then, before = self._recent[0]
        rate = (done - before) / (now - then) if now > then else 0.0
        pending = rows - done - failed - words["deferred"] - words["in_doubt"]
        return Frame(
            rows=rows,
            done=done,
            pending=max(0, pending),
            deferred=words["deferred"],
            in_doubt=words["in_doubt"],
            failed=failed,
            owed=fold.owed,
            rate_per_s=rate,
            elapsed_s=now - self._began,
            note="draining" if self._stop.stopping else f"{flying} out",
        )


def line(frame: Frame) -> str:
    """A frame as one plain line of at most 80 columns or so."""
    return (
        f"{frame.done:,}/{frame.rows:,} done, {frame.rate_per_s:.1f}/s, ETA {frame.eta}, "
        f"{frame.deferred} deferred, {frame.in_doubt} in doubt, {frame.failed} failed"
    )


def view(frame: Frame) -> RenderableType:
    """A frame as a few lines for a terminal."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    counts = Text("  ")
    counts.append(f"{frame.done:,} done", "bold green")
    counts.append(f" of {frame.rows:,}   ")
    for number, word, style in (
        (frame.pending, "pending", "dim"),
        (frame.deferred, "deferred", "yellow"),
        (frame.in_doubt, "in doubt", "magenta"),
        (frame.failed, "failed", "bold red"),
    ):
        counts.append(f"{number:,} {word}   ", style if number else "dim")
    pace = Text(
        f"  {frame.rate_per_s:.1f}/s   ETA {frame.eta}   {duration_text(frame.elapsed_s)} so far   "
        f"{frame.note}",
        "dim",
    )
    bar = ProgressBar(total=max(1, frame.rows), completed=frame.done + frame.failed, width=74)
    grid = Table.grid()  # a bar by itself ends no line
    for part in (bar, counts, pace):
        grid.add_row(part)
    return grid


@asynccontextmanager
async def showing(
    prepared: Prepared, stop: Stop, options: dict[str, Any]
) -> AsyncIterator[TaskGroup]:
    """Show progress while the block runs; yields a task group that ends with it."""
    meter = Meter(prepared, stop)
    async with tapped(prepared.taps, options) as tasks:
        if not options.get("quiet"):
            drawn = on_terminal() and not options.get("verbose")
            tasks.start_soon(_live if drawn else _plain, meter)
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


def _say_record(record: Record, verbose: int) -> None:
    if text := record_line(record, verbose):
        say(text, record=record)


async def _plain(meter: Meter) -> None:
    while True:
        await anyio.sleep(_PLAIN_S)
        frame = meter.frame()
        say(line(frame), progress=frame._asdict())


async def _live(meter: Meter) -> None:
    from rich.console import Console
    from rich.live import Live

    console, writer = Console(stderr=True), talk_writer()
    with (
        Live(view(meter.frame()), console=console, auto_refresh=False, transient=True) as live,
        spoken_above(console),
    ):
        while True:
            if writer is None or not writer.behind:  # pictures leave room for words
                live.update(view(meter.frame()), refresh=True)
            await anyio.sleep(_LIVE_S)
