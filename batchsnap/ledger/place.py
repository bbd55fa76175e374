"""Whether the ledger's folder outlives the machine."""

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
