"""`batchsnap settle`: resolve the doubts of a ledger; nothing is sent but questions."""

from __future__ import annotations

from typing import Any

from batchsnap.cli.aftercare import ledger_options, reopened, show_result, with_cloud
from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import note
from batchsnap.settings import counted


@new_command("settle")
@ledger_options()
def command(ledger: str, **options: Any) -> int:
    """Ask the cloud about every row in doubt. Rows found absent stay pending for the next run.

    Exit 0: no doubt is left. 5: some are, run it again. 1: a row has a second snapshot.
    """
    with reopened(ledger, options) as opened:
        note(f"{counted(opened.doubts, 'row')} to ask about")
        result = with_cloud(opened, options, opened.settle)
    return show_result(result, as_json=options["as_json"])
