"""`batchsnap copy`: the snapshots of a ledger, once more in another region."""

from __future__ import annotations

from typing import Any

from batchsnap.cli.commands.run import run_here, spec_of
from batchsnap.cli.options import (
    Region,
    cloud_options,
    ledger_argument,
    option,
    setting,
    verbosity,
)
from batchsnap.cli.options import command as new_command


@new_command("copy")
@ledger_argument()
@option(
    "--to",
    "copy_to",
    type=Region(),
    metavar="REGION",
    required=True,
    help="Where the copies are made.",
)
@cloud_options()
@setting("rate_per_s", "Calls a second per quota.")
@setting("api_limit_per_s", "What support raised the cap to.")
@setting("name", "Of the copies.", metavar="TEMPLATE")
@setting("retry_for_s", "For a busy row.")
@setting("settle_for_s", "For a doubt.")
@setting("max_duration_s", "Stop feeding after it.")
@option("--retry-failed", is_flag=True, help="Take up rejected rows again.")
@option("--wait", is_flag=True, help="Until every copy is ready in the other region.")
@option("--yes", is_flag=True, help="Do not ask.")
@option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@verbosity()
def command(ledger: str, **options: Any) -> int:
    """Copy each ready snapshot of LEDGER to another region, one copy a row.

    The copies have a ledger of their own, LEDGER.copy-REGION.jsonl, which status, report, wait,
    settle and rollback take. The same command again goes on where that stands.
    """
    return run_here(spec_of(ledger, options), options)
