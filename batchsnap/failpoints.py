"""Named crash points, at which tests kill the process with SIGKILL.

Without the environment variable nothing happens. `BATCHSNAP_CRASH=intent_synced:3` kills at the
third pass of that point.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "ledger_born",
    "ledger_folder_synced",
    "intent_written",
    "intent_synced",
    "token_taken",
    "about_to_write",
    "bytes_sent",
    "reply_read",
    "outcome_written",
    "settle_asked",
    "settle_found",
    "deleting_synced",
    "deletion_sent",
)

_name, _, _nth = os.environ.get("BATCHSNAP_CRASH", "").partition(":")
_left = int(_nth or "1")


def failpoint(name: str) -> None:
    """Die here if the environment says so."""
    global _left  # noqa: PLW0603 - one process, one countdown
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
