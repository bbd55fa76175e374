"""Whether a ledger's silence is a proof: what tells that records are missing, and what helps.

The ledger itself names the file that it was written to, so a copy, a restored or a moved one is
known for what it is, whatever died in between. What a process sees or meets, a file cut under it
or one that is damaged, it marks beside the file, for the copy that is put in its place may be
older, and may be put into the same file.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from batchsnap.errors import LedgerError
from batchsnap.ledger import disk
from batchsnap.ledger.replay import Fold

_TAKEN_UP = (
    "the same command then asks the cloud about every row that isn't done, before it is sent"
)


class Gap(StrEnum):
    """Why a ledger's silence about a row is no proof that the row was never sent."""

    NONE = ""
    CUT = "cut"  # recovery cut a torn end: records that nobody was told to be durable
    LOST = "lost"  # another program cut or replaced the file: records of calls that were sent


def lost_since(path: Path, fd: int, fold: Fold) -> str:
    """Why durable records may be missing, as far as the file and what lies beside it tell."""
    if (mark := disk.lost(path)).exists():
        return f"{mark} tells that another program cut or replaced the ledger"
    if fold.home and fold.home != (home := disk.home_of(path, fd)):
        if fold.home.get("path") == home["path"]:
            return "the file is not the one that the ledger was written to, but put in its place"
        return f"the ledger was written to {fold.home.get('path')} and moved or copied from there"
    return ""


def refuse_where_lost(path: Path) -> None:
    """A new ledger in the place of a lost one would make every snapshot again."""
    if disk.lost(path).exists():
        raise LedgerError(
            f"the ledger {path} is gone, and its run may have made snapshots: {remedy(path)}. If "
            f"this is to be another run, remove {disk.lost(path)} or give it its own --ledger"
        )


def remedy(path: Path) -> str:
    """What to do about a ledger of which records are lost."""
    mark = disk.lost(path)
    with suppress(OSError):
        if mark.stat().st_size:
            return (
                f"put its newest copy in its place, or without one `cp {mark} {path}`; {_TAKEN_UP}"
            )
    return f"put its newest copy in its place; {_TAKEN_UP}"
