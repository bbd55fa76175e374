"""`batchsnap status`: counts and reasons of a ledger, also while its run is going on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from batchsnap.ledger.record import Record

_EVERY_S = 1.0


@click.command("status")
@click.argument("ledger", type=click.Path(path_type=Path), metavar="LEDGER")
@click.option("--watch", is_flag=True, help="Look again every second until the run has finished.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(ledger: Path, *, watch: bool, as_json: bool) -> None:
    """Say where the run of LEDGER stands. Reads only; a run that is going on is not disturbed."""
    from batchsnap.ledger.reading import records
    from batchsnap.report.render import summary_json

    view = _View()
    for record in records(ledger):
        view.add(record)
    if watch and not as_json and view.finished is None:
        _watch(ledger)
    elif as_json:
        click.echo(summary_json(view.summing.close()))
    else:
        click.echo(view.text())


class _View:
    """What a ledger's records come to, so far."""

    def __init__(self) -> None:
        from batchsnap.report.now import Recent
        from batchsnap.report.summary import Summing

        self.summing = Summing()
        self._recent = Recent()

    def add(self, record: Record) -> None:
        self.summing.add(record)
        self._recent.add(record)

    @property
    def finished(self) -> Record | None:
        return self.summing.fold.finished

    def text(self) -> str:
        """A screenful."""
        from batchsnap.report.now import now_of
        from batchsnap.report.render import reasons_of, summary_text

        summary = self.summing.close()
        now = now_of(self.summing, summary, self._recent, time.time())
        lines = [summary_text(summary, reasons_of(self.summing.outcomes())), *now.lines()]
        if (finished := self.finished) is not None:
            lines.append(f"  finished at {finished['at']} with exit {finished['exit']}")
        return "\n".join(lines)


def _watch(ledger: Path) -> None:
    """A view that follows the file; plain text again and again where there is no terminal."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from batchsnap.ledger.reading import Follower

    view, follower = _View(), Follower(ledger)
    with Live(Text(""), console=Console(), auto_refresh=False) as live:
        while view.finished is None:
            more = follower.more()
            if more is None:  # a repair cut the file: read it all again
                view = _View()
                continue
            for record in more:
                view.add(record)
            live.update(Text(view.text()), refresh=True)
            if view.finished is None:
                time.sleep(_EVERY_S)
