"""The system calls of the ledger's file: each does one durable step and names its failure."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from batchsnap.errors import LedgerError, LedgerLocked, LedgerUnwritable
from batchsnap.ledger.replay import Scan

MODE = 0o600
BLOCK = 1 << 20


def write_all(fd: int, data: bytes) -> None:
    """`os.write` until all is taken: a full disk takes a part and says nothing."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_locked(path: Path) -> int:
    """An exclusive lock on the file that the path names now, not on one that was moved away."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise LedgerUnwritable(f"can't open {path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise LedgerLocked(
                f"another process is at work on {path}: wait for it, or stop it"
            ) from None
        except OSError as error:
            os.close(fd)
            raise LedgerError(
                f"can't lock {path}: {error}. Put the ledger on a file system with locks"
            ) from error
        if is_at(path, fd):
            return fd
        os.close(fd)


def is_at(path: Path, fd: int) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def keep_broken(path: Path, fd: int, offset: int) -> None:
    """Copy what recovery will cut to the first free PATH.broken[.N], durably."""
    number = 1
    broken = path.with_name(f"{path.name}.broken")
    while broken.exists():
        number += 1
        broken = path.with_name(f"{path.name}.broken.{number}")
    copy = os.open(broken, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        while block := os.pread(fd, BLOCK, offset):
            write_all(copy, block)
            offset += len(block)
        os.fsync(copy)
    finally:
        os.close(copy)
    sync_folder(path.parent)


def rewrite_unproven(fd: int, scan: Scan) -> None:
    """Write again what no later record proves durable: after a failed sync the kernel may show
    pages as clean that never reached the disk."""
    start, lines = scan.end, scan.last_seq - scan.synced
    tail = b""
    while start and tail.count(b"\n") <= lines:
        start = max(0, start - BLOCK)
        tail = os.pread(fd, scan.end - start, start)
    os.pwrite(fd, tail, start)
