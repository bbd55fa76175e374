"""Whether a ledger's silence is a proof: what tells that records are missing, and what helps.

The ledger itself names the file that it was written to, so a copy, a restored or a moved one is
known for what it is, whatever died in between. What a process sees or meets, a file cut under it
or one that is damaged, it marks beside the file, for the copy that is put in its place may be
older, and may be put into the same file.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from batchsnap.errors import LedgerError
from batchsnap.ledger import disk
from batchsnap.ledger.record import Home, encode
from batchsnap.ledger.replay import Fold

_GETVERSION = 0x80087601  # FS_IOC_GETVERSION: which of the files that had this inode number
_TAKEN_UP = (
    "the same command then asks the cloud about every row that isn't done, before it is sent"
)


class Gap(StrEnum):
    """Why a ledger's silence about a row is no proof that the row was never sent."""

    NONE = ""
    CUT = "cut"  # recovery cut a torn end: records that nobody was told to be durable
    LOST = "lost"  # another program cut or replaced the file: records of calls that were sent


class NotOurs(Exception):
    """The file is not what was written to it: another program cut, overwrote or replaced it."""


def lost(path: Path) -> Path:
    """The name of the mark that durable records may be missing from whatever the ledger's name
    now leads to. It holds the `run` line where that is known, and so is a ledger itself."""
    home = disk.real(path)
    return home.with_name(f"{home.name}.lost")


def home_of(path: Path, fd: int) -> Home:
    """Which file this is. A copy is another one, and so is one restored under the same name; a
    number that the file system has given again is told by its generation, where there is one."""
    home: Home = {
        "path": str(disk.real(path)).encode("utf8", "backslashreplace").decode(),
        "inode": os.fstat(fd).st_ino,
    }
    if sys.platform == "linux":
        with suppress(OSError):
            version = fcntl.ioctl(fd, _GETVERSION, bytes(8))
            home["generation"] = int.from_bytes(version[:4], sys.byteorder)
    return home


def check_ours(path: Path, fd: int, end: int) -> None:
    """Raise NotOurs unless the path's file is the open one and ends where our writing does."""
    if not disk.is_at(path, fd):
        raise NotOurs("was moved away or replaced while it was written")
    size = os.fstat(fd).st_size
    if size != end:
        raise NotOurs(
            f"was cut or overwritten by another program: it has {size} bytes where {end} were "
            "written"
        )


def mark_lost(path: Path, line: bytes) -> None:
    """Leave the mark, durably; a mark that is there stays as it is."""
    mark = lost(path)
    try:
        fd = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, disk.MODE)
    except FileExistsError:
        return
    try:
        disk.write_all(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)
    disk.sync_folder(mark.parent)


def run_line(fold: Fold) -> bytes:
    """The ledger's first line: with it the run keeps its id, and so the names of its snapshots."""
    return encode({name: value for name, value in fold.header.items() if name != "crc"})  # type: ignore


def lost_since(path: Path, fd: int, fold: Fold) -> str:
    """Why durable records may be missing, as far as the file and what lies beside it tell."""
    if (mark := lost(path)).exists():
        return f"{mark} tells that another program cut or replaced the ledger"
    if fold.home and fold.home != (home := home_of(path, fd)):
        if fold.home.get("path") == home["path"]:
            return "the file is not the one that the ledger was written to, but put in its place"
        return f"the ledger was written to {fold.home.get('path')} and moved or copied from there"
    return ""


def refuse_where_lost(path: Path) -> None:
    """A new ledger in the place of a lost one would make every snapshot again."""
    if lost(path).exists():
        raise LedgerError(
            f"the ledger {path} is gone, and its run may have made snapshots: {remedy(path)}. If "
            f"this is to be another run, remove {lost(path)} or give it its own --ledger"
        )


def remedy(path: Path) -> str:
    """What to do about a ledger of which records are lost."""
    mark = lost(path)
    with suppress(OSError):
        if mark.stat().st_size:
            return (
                f"put its newest copy in its place, or without one `cp {mark} {path}`; {_TAKEN_UP}"
            )
    return f"put its newest copy in its place; {_TAKEN_UP}"
