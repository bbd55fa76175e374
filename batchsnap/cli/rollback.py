"""`batchsnap rollback`: delete exactly the snapshots that a ledger's rows were given."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from batchsnap.cli.reopened import ledger_options, reopened, show_result, with_cloud
from batchsnap.cli.talk import say
from batchsnap.errors import UsageError

_SHOWN = 10


@click.command("rollback")
@ledger_options()
@click.option("--yes", is_flag=True, help="Delete without asking; demanded off a terminal.")
def command(ledger: Path, *, yes: bool, **options: Any) -> int:
    """Delete the snapshots that LEDGER's run made, and nothing else.

    Each deletion is recorded before it is sent; the same command again goes on after a kill. A
    later run never makes a deleted row again. Exit 5: some could not be deleted, each with why.
    """
    with reopened(ledger, options) as opened:
        snapshots = opened.deletable()
        regions = Counter(watched.row.region for watched in snapshots)
        say(f"run {opened.fold.header['run_id']}: {len(snapshots):,} snapshots to delete")
        for region, number in regions.most_common():
            say(f"  {number:>9,}  {region}")
        for watched in snapshots[:_SHOWN]:
            say(f"  {watched.snapshot_id} of {watched.row.disk_id or watched.row.key}")
        if len(snapshots) > _SHOWN:
            say(f"  … and {len(snapshots) - _SHOWN:,} more")
        if snapshots and not yes:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError("rollback deletes snapshots: off a terminal it needs --yes")
            click.confirm("Delete them? This can't be undone.", abort=True, err=True)
        result, left = with_cloud(opened, options, opened.rollback)
    for reason, number in left.most_common():
        say(f"not deleted: {number:,}: {reason}")
    return show_result(result, as_json=options["as_json"])
