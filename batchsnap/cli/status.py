"""`batchsnap status`: counts and reasons of a ledger, also while its run is going on."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("status")
@click.argument("ledger", type=click.Path(path_type=Path), metavar="LEDGER")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(ledger: Path, *, as_json: bool) -> None:
    """Say where the run of LEDGER stands. Reads only; a run that is going on is not disturbed."""
    from batchsnap.ledger.reading import records
    from batchsnap.report.render import reasons_of, summary_json, summary_text
    from batchsnap.report.summary import summing

    folded = summing(records(ledger))
    summary = folded.close()
    if as_json:
        click.echo(summary_json(summary))
        return
    click.echo(summary_text(summary, reasons_of(folded.outcomes())))
    finished = folded.fold.finished
    if finished is not None:
        click.echo(f"  finished at {finished['at']} with exit {finished['exit']}")
