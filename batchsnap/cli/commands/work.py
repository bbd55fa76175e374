"""`batchsnap work`: this machine helps with a run whose ledger is in PostgreSQL."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from batchsnap.cli.options import command as new_command
from batchsnap.cli.options import option, verbosity
from batchsnap.cli.output import note, say
from batchsnap.errors import Exit

if TYPE_CHECKING:
    from batchsnap.cluster.run import Conclusion, KnownRun
    from batchsnap.cluster.worker import Offer
    from batchsnap.postgres.address import Address


@new_command("work")
@click.argument("url", metavar="URL")
@option(
    "--max-quotas",
    type=click.IntRange(1),
    default=100,
    metavar="N",
    help="Owned at once. [default: 100]",
)
@click.option("--keep", is_flag=True, help="Serve every open ledger until a signal.")
@option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Serve Prometheus metrics of what this machine owns.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@verbosity()
def command(url: str, **options: Any) -> int:
    """Offer this machine to the run of postgresql://HOST/DATABASE/LEDGER until it has ended.

    Without /LEDGER, or with --keep, it serves every open ledger of the database until a signal.
    Any number of machines may do so, each with the keys of the profiles that it is to work for.
    Exit codes are the run's; 5 also where nothing is left that this machine has keys for.
    """
    import anyio

    from batchsnap.cli.cluster import same_command, say_cautions, show_result
    from batchsnap.cluster.run import known
    from batchsnap.errors import LedgerError
    from batchsnap.postgres.address import given

    address = given(url)
    if options["keep"] or not address.ledger:
        return anyio.run(partial(_serve, address.of(""), options))
    there = known(address)
    if there is None:
        raise LedgerError(
            f"there is no ledger {address.ledger} in {address.database}: whoever types "
            "`batchsnap run MANIFEST --ledger URL` makes it"
        )
    say_cautions(address)
    end = anyio.run(partial(_work, address, there, options))
    return show_result(end, as_json=options["as_json"], same=same_command(there, end))


async def _work(address: Address, there: KnownRun, options: dict[str, Any]) -> Conclusion:
    from batchsnap.cli.cluster import working

    return await working(address, there, _offer(options), options, whole=False)


async def _serve(address: Address, options: dict[str, Any]) -> int:
    """Until a signal, which is its usual end."""

    from batchsnap.cli.cluster import same_command, show_result
    from batchsnap.cli.metrics import measured_machine, serving
    from batchsnap.cli.progress import shown
    from batchsnap.client.stopping import Stop, watch_signals
    from batchsnap.cluster.serve import serve

    def ended(there: KnownRun, end: Conclusion) -> None:
        show_result(end, as_json=options["as_json"], same=same_command(there, end))

    stop, offer = Stop(), _offer(options)
    machine = offer.machine
    note(f"serves the open ledgers of {address.label} until a signal")
    with serving(measured_machine(machine), options["metrics_port"]):
        async with shown(machine.sight, machine.taps, stop, options) as tasks:
            tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
            await serve(address, offer, stop, say, ended)
    return int(stop.exit or Exit.INTERRUPTED)


def _offer(options: dict[str, Any]) -> Offer:
    from batchsnap.cloud.credentials import chain
    from batchsnap.cluster.machine import Machine
    from batchsnap.cluster.worker import Offer

    return Offer(chain, Machine(options["max_quotas"], note))
