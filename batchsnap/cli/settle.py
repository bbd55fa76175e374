"""`batchsnap settle`: resolve the doubts of a ledger; nothing is sent but questions."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsnap.cli.options import DURATION, cloud_options, option, verbosity
from batchsnap.cli.talk import say

if TYPE_CHECKING:
    from batchsnap.engine.reopen import Reopened
    from batchsnap.engine.run import Result


@click.command("settle")
@click.argument("ledger", type=click.Path(path_type=Path), metavar="LEDGER")
@cloud_options()
@option("--settle-for", "settle_for_s", type=DURATION, help="For a doubt. [default: 60s]")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@verbosity()
def command(ledger: Path, *, as_json: bool, **options: Any) -> int:
    """Ask the cloud about every row in doubt. Rows found absent stay pending for the next run."""
    import anyio

    from batchsnap.cli.run import given_of
    from batchsnap.engine.reopen import Reopened
    from batchsnap.report.render import summary_json, summary_text

    reopened = Reopened(
        ledger.absolute(), endpoint=options.get("endpoint") or "", given=given_of(options)
    )
    try:
        say(f"{reopened.doubts:,} rows to ask about")
        result: Result = anyio.run(partial(_settle, reopened, options))
    finally:
        reopened.close()
    click.echo(summary_json(result.summary) if as_json else summary_text(result.summary))
    return int(result.exit)


async def _settle(reopened: Reopened, options: dict[str, Any]) -> Result:
    from batchsnap.cli.progress import tapped
    from batchsnap.cloud.credentials import Credentials
    from batchsnap.cloud.transport import get_unsigned
    from batchsnap.engine.stopping import Stop, watch_signals

    stop = Stop()
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(tapped(reopened.taps, options))
        tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
        return await reopened.settle(Credentials(get_unsigned), stop, say)
    raise SystemExit(int(stop.exit or 130))
