"""`batchsnap status`: counts and reasons of a ledger, also while its run is going on."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from batchsnap.cli.options import command as new_command
from batchsnap.cli.options import ledger_argument
from batchsnap.cli.output import show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from batchsnap.ledger.ports import Follower, Store
    from batchsnap.ledger.record import Record

_EVERY_S = 1.0
_AGAIN = "to go on, run the same command again"
_REASONS_SHOWN = 3  # in the live view; the plain text has more


@new_command("status")
@ledger_argument()
@click.option(
    "--watch",
    is_flag=True,
    help="Follow it until the run has ended or stopped; Ctrl-C ends the view only.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(ledger: str, *, watch: bool, as_json: bool) -> int:
    """Say where the run of LEDGER stands. Reads only; a run that is going on is not disturbed."""
    from batchsnap.job.spec import store_at
    from batchsnap.report.summary import summary_json, summary_of

    view, store = View(), store_at(ledger)
    for record in store.records():
        view.add(record)
    if watch and not as_json and not view.over(store):
        view = _watch(store, view)
    if as_json:
        return show(summary_json(summary_of(view.fold)))
    return show("\n".join((view.text(store), *store.parts())))


class View:
    """What a ledger's records come to, so far."""

    def __init__(self) -> None:
        from batchsnap.ledger.replay import Fold

        self.fold = Fold()

    def add(self, record: Record) -> None:
        """Take the next record."""
        self.fold.apply(record)

    @property
    def finished(self) -> Record | None:
        return self.fold.ended

    def over(self, store: Store) -> str:
        """How its run ended or stopped, or that nobody is at work on it; "" while it goes on."""
        if self.finished is not None:
            return _end(self.finished)
        if (stopped := self.fold.stopped) is not None:
            why = f" ({stopped['reason']})" if "reason" in stopped else ""
            return f"  stopped at {stopped['at']}{why}, exit {stopped['exit']}: {_AGAIN}"
        return f"  no process is at work on it: {_AGAIN}" if store.held() is False else ""

    def text(self, store: Store) -> str:
        """A screenful."""
        from batchsnap.report.progress import status_lines
        from batchsnap.report.summary import outcomes_of, reasons_of, summary_of, summary_text

        lines = [summary_text(summary_of(self.fold), reasons_of(outcomes_of(self.fold)))]
        end = self.over(store)
        lines += status_lines(self.fold, time.time(), over=bool(end))
        return "\n".join([*lines, *[end] * bool(end)])

    def screen(self) -> RenderableType:
        """A few lines for a terminal: the picture that `run` draws, and why rows wait or failed."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        from batchsnap.cli.progress import Frame, view
        from batchsnap.report.progress import progress_of, waits
        from batchsnap.report.summary import outcomes_of, reasons_of, summary_of

        fold, now = self.fold, time.time()
        summary = summary_of(fold)
        note = f"{summary.ready:,} ready, at most {summary.worst_second} in any second"
        frame = Frame(progress_of(fold, now), summary.elapsed_s, note)
        picture = Table.grid()  # a bar ends no line by itself
        drawn = view(frame)
        for part in drawn.renderables if isinstance(drawn, Group) else [drawn]:
            picture.add_row(part)
        lines = [
            Text(line, "yellow", no_wrap=True, overflow="ellipsis") for line in waits(fold, now)
        ]
        for halt in summary.halted:
            what = f"  halted {halt.get('region') or halt['scope']}: {halt['code']}"
            lines.append(Text(what, "bold red", no_wrap=True, overflow="ellipsis"))
        for reason in reasons_of(outcomes_of(fold), most=_REASONS_SHOWN):
            why = Text("  ", no_wrap=True, overflow="ellipsis")
            why.append(f"{reason.rows:,} {reason.word.replace('_', ' ')}: {reason.code}", "bold")
            lines.append(why.append(f"  {reason.hint}", "dim"))
        return Group(picture, *lines)


def _end(finished: Record) -> str:
    if by := finished.get("superseded_by"):
        return f"  closed unfinished at {finished['at']}: superseded by {by}"
    return f"  finished at {finished['at']} with exit {finished['exit']}"


def _watch(store: Store, seen: View) -> View:
    """Follow the file until its run has finished or the watcher leaves; draws on a terminal only,
    so that a file or pipe gets the outcome and no half screens. Returns the last whole view."""
    from rich.console import Console
    from rich.live import Live

    view, follower = View(), store.follow()
    screen = sys.stdout
    drawn = screen.isatty()
    console = Console(quiet=not drawn)
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                view = seen = _caught_up(view, follower)
                gone = drawn and not screen.isatty()  # the terminal, and its watcher with it
                if view.over(store) or gone:
                    return _caught_up(view, follower)  # what was written before it let go
                live.update(view.screen(), refresh=True)
                time.sleep(_EVERY_S)
    except KeyboardInterrupt:
        return seen


def _caught_up(view: View, follower: Follower) -> View:
    """The view with all that the file has now: it reads on from where it stopped."""
    while more := follower.more():
        for record in more:
            view.add(record)
    # a repair cut the file: it is read again from its start
    return _caught_up(View(), follower) if more is None else view
