"""What the system tells of a ledger's place: whether its folder outlives the machine, and whether
a process holds the file."""

from __future__ import annotations

from pathlib import Path

_VOLATILE = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})


def volatile(path: Path) -> str:
    """The type of a file system that dies with the machine or container, or "".

    Linux only (reads the mount table); elsewhere nothing is known and nothing said.
    """
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf8", errors="replace")
        folder = path.parent.resolve()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in mounts.splitlines():
        _, point, fs, *_ = line.split(" ")
        where = Path(point.replace("\\040", " "))
        # of two mounts on one point the later one is seen
        if len(where.parts) >= best and folder.is_relative_to(where):
            best, kind = len(where.parts), fs
    return kind if kind in _VOLATILE else ""


def held(path: Path) -> bool | None:
    """Whether a process of this machine has locked the file, found without touching the lock: who
    tries it might be in the way of a run that begins. None where nothing is told (not Linux)."""
    try:
        locks = Path("/proc/locks").read_text(encoding="utf8")
        inode = path.stat().st_ino
    except OSError:
        return None
    found = (line.split() for line in locks.splitlines())
    return any(
        words[1:2] == ["FLOCK"] and words[3:4] == ["WRITE"] and words[5].endswith(f":{inode}")
        for words in found
        if len(words) > 5
    )
