"""`batchsnap stop`: every worker of a run drains, wherever it is."""

from __future__ import annotations

import click

from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import say
from batchsnap.errors import Exit


@new_command("stop")
@click.argument("url", metavar="URL")
def command(url: str) -> int:
    """Stop the run of postgresql://HOST/DATABASE/LEDGER on all machines.

    Each drains within a second and claims nothing more; `run` goes on again.
    """
    from batchsnap.cluster.run import known, stop_run
    from batchsnap.errors import LedgerError
    from batchsnap.postgres.address import given, need_ledger

    address = need_ledger(given(url))
    there = known(address)
    if there is None:
        raise LedgerError(f"there is no ledger {address.ledger} in {address.database}")
    if stop_run(address, there):
        say("stopping: every worker waits for the replies that are out and gives its quotas back")
    else:
        say(f"nothing to stop: the run is {there.ledger.phase}")
    return int(Exit.DONE)
