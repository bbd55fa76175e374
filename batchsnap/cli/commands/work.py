"""`batchsnap work`: this machine helps with a run whose ledger is in PostgreSQL."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from batchsnap.cli.options import command as new_command
from batchsnap.cli.options import option, verbosity
from batchsnap.cli.output import say

if TYPE_CHECKING:
    from batchsnap.cluster.run import KnownRun
    from batchsnap.job.spec import Result
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
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@verbosity()
def command(url: str, **options: Any) -> int:
    """Offer this machine to the run of postgresql://HOST/DATABASE/LEDGER until it has ended.

    Any number of machines may do so, each with the keys of the profiles that it is to work for.
    Exit codes are the run's; 5 also where nothing is left that this machine has keys for.
    """
    import anyio

    from batchsnap.cli.cluster import say_cautions, show_result
    from batchsnap.cluster.run import known
    from batchsnap.errors import LedgerError
    from batchsnap.postgres.address import given, need_ledger

    address = need_ledger(given(url))
    there = known(address)
    if there is None:
        raise LedgerError(
            f"there is no ledger {address.ledger} in {address.database}: whoever types "
            "`batchsnap run MANIFEST --ledger URL` makes it"
        )
    say_cautions(address)
    result = anyio.run(partial(_work, address, there, options))
    return show_result(result, as_json=options["as_json"])


async def _work(address: Address, there: KnownRun, options: dict[str, Any]) -> Result:
    from batchsnap.cli.cluster import working
    from batchsnap.cloud.credentials import Credentials
    from batchsnap.cloud.transport import get_unsigned
    from batchsnap.cluster.worker import Offer

    offer = Offer(Credentials(get_unsigned), max_quotas=options["max_quotas"])
    return await working(address, there, offer, options, say)
