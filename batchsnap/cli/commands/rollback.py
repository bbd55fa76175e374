"""`batchsnap rollback`: delete exactly the snapshots that a ledger's rows were given."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from itertools import chain, islice
from typing import Any

import click

from batchsnap.cli.aftercare import ledger_options, reopened, show_result, with_cloud
from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import note, say
from batchsnap.errors import UsageError
from batchsnap.settings import counted

_SHOWN = 10


@new_command("rollback")
@ledger_options()
@click.option("--yes", is_flag=True, help="Delete without asking; demanded off a terminal.")
def command(ledger: str, *, yes: bool, **options: Any) -> int:
    """Delete the snapshots that LEDGER's run made, and nothing else.

    Each deletion is recorded before it is sent; the same command again goes on after a kill. A
    later run never makes a deleted row again. Exit 5: some could not be deleted, each with why.
    """
    with reopened(ledger, options) as opened:
        piles = opened.deletable()
        number = sum(map(len, piles.values()))
        regions: Counter[str] = Counter()
        to = opened.fold.header.get("copy_to", "")
        for (_, region), pile in piles.items():
            regions[to or region] += len(pile)
        tell = note if yes else say  # a question stands on what was said before it
        tell(f"run {opened.fold.header['run_id']}: {counted(number, 'snapshot')} to delete")
        for region, count in regions.most_common():
            tell(f"  {count:>9,}  {region}")
        for snapshot in islice(
            chain.from_iterable(p.first(_SHOWN) for p in piles.values()), _SHOWN
        ):
            tell(f"  {snapshot.snapshot_id} of {snapshot.disk_id or snapshot.key}")
        if number > _SHOWN:
            tell(f"  … and {number - _SHOWN:,} more")
        if number and not yes:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError("rollback deletes snapshots: off a terminal it needs --yes")
            click.confirm("Delete them? This can't be undone.", abort=True, err=True)
        result, left = with_cloud(opened, options, partial(opened.rollback, piles))
    for reason, count in left.most_common():
        say(f"not deleted: {count:,}: {reason}")
    return show_result(result, as_json=options["as_json"])
