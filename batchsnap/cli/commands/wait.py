"""`batchsnap wait`: until every accepted snapshot of a ledger is ready."""

from __future__ import annotations

from typing import Any

from batchsnap.cli.aftercare import ledger_options, reopened, show_result, with_cloud
from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import note
from batchsnap.lifecycle import State
from batchsnap.settings import counted


@new_command("wait")
@ledger_options()
def command(ledger: str, **options: Any) -> int:
    """Wait until every snapshot that LEDGER's run was given is NORMAL and 100 %.

    Exit 0: all are ready. 5: some are not yet (--max-duration), run it again. 1: some vanished.
    """
    with reopened(ledger, options) as opened:
        note(f"waiting for {counted(opened.fold.counts[State.ACCEPTED], 'snapshot')}")
        result = with_cloud(opened, options, opened.wait)
    return show_result(result, as_json=options["as_json"])
