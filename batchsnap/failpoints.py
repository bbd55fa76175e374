"""Named points at which tests kill the process with SIGKILL, hold it as a stalled host would, or
freeze it.

Without the environment's variables nothing happens. `BATCHSNAP_CRASH=intent_synced:3` kills at the
third pass of that point; `BATCHSNAP_STALL=about_to_write:40:1.2` blocks the thread for 1.2 seconds
at each 40th pass; `BATCHSNAP_STOP=token_taken:9` stops the whole process at the ninth, until
somebody lets it go on.
"""

from __future__ import annotations

import os
import signal
import time

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

CLUSTER_POINTS = ("claim_locked", "claim_written", "group_sent", "released")
"""Of a ledger in PostgreSQL: a claim's lock, its record, a commit's answer, a quota given back."""

_name, _, _nth = os.environ.get("BATCHSNAP_CRASH", "").partition(":")
_left = int(_nth or "1")
_stalled, _, _rhythm = os.environ.get("BATCHSNAP_STALL", "").partition(":")
_passed = 0
_frozen, _, _at = os.environ.get("BATCHSNAP_STOP", "").partition(":")
_until = int(_at or "1")


def failpoint(name: str) -> None:
    """Die or stand still here if the environment says so."""
    if name == _name:
        _die()
    if name == _stalled:
        _stall()
    if name == _frozen:
        _freeze()


def _die() -> None:
    global _left  # noqa: PLW0603 - one process, one countdown
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def _stall() -> None:
    global _passed  # noqa: PLW0603 - one process, one count
    _passed += 1
    nth, _, seconds = _rhythm.partition(":")
    if _passed % int(nth) == 0:
        time.sleep(float(seconds))


def _freeze() -> None:
    global _until  # noqa: PLW0603 - one process, one countdown
    _until -= 1
    if _until == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
