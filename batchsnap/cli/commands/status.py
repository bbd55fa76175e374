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

    from batchsnap.owners.view import RunView

_EVERY_S = 1.0
_REASONS_SHOWN = 3  # in the live view; the plain text has more


@new_command("status")
@ledger_argument()
@click.option(
    "--watch",
    is_flag=True,
    help="Follow it until the run has ended or stopped; Ctrl-C ends the view only.",
)
@click.option("--quotas", is_flag=True, help="A line for each, where each has an owner.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(ledger: str, *, watch: bool, quotas: bool, as_json: bool) -> int:
    """Say where the run of LEDGER stands. Reads only; a run that is going on is not disturbed."""
    from batchsnap.job.spec import store_at
    from batchsnap.owners.view import RunView
    from batchsnap.report.summary import summary_json, summary_of

    view = RunView(store_at(ledger))
    view.read()
    if watch and not as_json and not view.over:
        view = _watch(view)
    if as_json:
        return show(summary_json(summary_of(view.fold), view.quotas(time.time())))
    return show(view_text(view, each=quotas))


def view_text(view: RunView, *, each: bool = False) -> str:
    """A screenful; `each`: a line for each quota, however many."""
    from batchsnap.owners.quotas import quota_lines
    from batchsnap.report.progress import status_lines
    from batchsnap.report.summary import outcomes_of, reasons_of, summary_of, summary_text

    fold, now, over = view.fold, time.time(), view.over
    return "\n".join(
        [
            summary_text(summary_of(fold), reasons_of(outcomes_of(fold))),
            *status_lines(fold, now, over=bool(over)),
            *quota_lines(view.quotas(now), now, each=each),
            *[f"  {over}"] * bool(over),
        ]
    )


def view_screen(view: RunView, away: str = "") -> RenderableType:
    """A few lines for a terminal: the picture that `run` draws, who works on it, and why rows wait
    or failed; or why no more can be read now."""
    from rich.console import Group
    from rich.text import Text

    from batchsnap.cli.progress import Frame, drawn_frame
    from batchsnap.owners.quotas import screen_lines
    from batchsnap.report.progress import progress_of, waits
    from batchsnap.report.summary import outcomes_of, reasons_of, summary_of

    fold, now = view.fold, time.time()
    summary = summary_of(fold)
    note = f"{summary.ready:,} ready, at most {summary.worst_second} in any second"
    owners = screen_lines(view.quotas(now), now)
    drawn = drawn_frame(Frame(progress_of(fold, now), summary.elapsed_s, note, owners=owners))
    reasons = [f"  {away}"] if away else waits(fold, now)
    lines = [Text(line, "yellow", no_wrap=True, overflow="ellipsis") for line in reasons]
    for halt in summary.halted:
        what = f"  halted {halt.get('region') or halt['scope']}: {halt['code']}"
        lines.append(Text(what, "bold red", no_wrap=True, overflow="ellipsis"))
    for reason in reasons_of(outcomes_of(fold), most=_REASONS_SHOWN):
        why = Text("  ", no_wrap=True, overflow="ellipsis")
        why.append(f"{reason.rows:,} {reason.word.replace('_', ' ')}: {reason.code}", "bold")
        lines.append(why.append(f"  {reason.hint}", "dim"))
    return Group(drawn, *lines)


def _watch(seen: RunView) -> RunView:
    """Follow it until its run has finished or the watcher leaves; draws on a terminal only, so that
    a file or pipe gets the outcome and no half screens. Returns the last whole view."""
    from rich.console import Console
    from rich.live import Live

    from batchsnap.owners.view import RunView

    view = RunView(seen.store)
    screen = sys.stdout
    drawn = screen.isatty()
    console = Console(quiet=not drawn)
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                seen, (over, away) = view, _caught_up(view)
                gone = drawn and not screen.isatty()  # the terminal, and its watcher with it
                if over or gone:
                    _caught_up(view)  # what was written before it let go
                    return view
                live.update(view_screen(view, away), refresh=True)
                time.sleep(_EVERY_S)
    except KeyboardInterrupt:
        return seen


def _caught_up(view: RunView) -> tuple[bool, str]:
    """Read what is new: whether the run is over, and why nothing could be read. A database that
    does not answer may come back, and the run with it."""
    from batchsnap.errors import LedgerError

    try:
        view.catch_up()
        return bool(view.over), ""
    except LedgerError as error:
        if view.store.own_files:  # a file that is gone does not
            raise
        return False, str(error)
