"""The starts of every process of one user on one machine: one small locked file a quota.

Processes share a quota rather than refuse each other: a nightly run, a `settle` beside it and
another team's manifest are all legitimate, and the cap holds only if each sees the others' starts.

Layout, native byte order: magic 8 bytes, boot id 36 bytes padded to 40, start count u64, grid
point f64, then a ring of CAPACITY start times f64 (CLOCK_MONOTONIC, one for all processes of a
boot). A file of an earlier boot, or from another clock, starts afresh. Nothing needs fsync: a
power loss ends the boot.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from batchsnap.model import Quota

CAPACITY = 16_384
_MAGIC = b"bsnapq1\n"
_HEAD = struct.Struct("=8s40sQd")
_TIME = struct.Struct("=d")
_SIZE = _HEAD.size + CAPACITY * _TIME.size


class Tally(NamedTuple):
    """What the file says under its lock."""

    total: int
    previous_due: float


def state_folder() -> Path:
    """The user's state folder, or a private one under the temporary folder if that is closed."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    folder = Path(home) / "batchsnap"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    folder = Path(tempfile.gettempdir()) / f"batchsnap-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    return folder


def _boot_id() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:40]
    except OSError:
        return b"no-boot-id"


class QuotaFile:
    """The shared record of starts of one quota. All methods but `locked` need the lock."""

    def __init__(self, folder: Path, quota: Quota) -> None:
        name = hashlib.blake2b("\0".join(quota).encode(), digest_size=12).hexdigest()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(folder / f"{name}.starts", flags, 0o600)
        if os.fstat(self._fd).st_size < _SIZE:
            os.ftruncate(self._fd, _SIZE)
        self._map = mmap.mmap(self._fd, _SIZE)
        self._boot = _boot_id().ljust(40, b"\0")

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the file's lock; False where another process holds it at this instant."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def tally(self, now: float) -> Tally:
        """Count and last grid point; empty when the file is of another boot or clock."""
        magic, boot, count, due = _HEAD.unpack_from(self._map, 0)
        foreign = magic != _MAGIC or boot != self._boot
        if foreign or (count and self._start(count - 1) > now):
            self._map[_HEAD.size :] = bytes(_SIZE - _HEAD.size)
            count, due = 0, float("-inf")
            _HEAD.pack_into(self._map, 0, _MAGIC, self._boot, count, due)
        return Tally(count, due)

    def nth_last(self, count: int, n: int) -> float:
        """Time of the n-th start before the next one; -inf where there was none."""
        return self._start(count - n) if count >= n else float("-inf")

    def add(self, count: int, start: float, due: float) -> None:
        """Record start number `count` at `start`, on grid point `due`."""
        _TIME.pack_into(self._map, _HEAD.size + count % CAPACITY * _TIME.size, start)
        _HEAD.pack_into(self._map, 0, _MAGIC, self._boot, count + 1, due)

    def _start(self, index: int) -> float:
        at: float = _TIME.unpack_from(self._map, _HEAD.size + index % CAPACITY * _TIME.size)[0]
        return at
