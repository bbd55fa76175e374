"""The system calls of the ledger's file: each does one durable step and names its failure. And the
thread in which a writer makes them."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import anyio

from batchsnap.errors import LedgerLocked, LedgerUnwritable
from batchsnap.ledger.scan import Scan

MODE = 0o600
_VOLATILE = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})
BLOCK = 1 << 20
_LACKS = frozenset(
    {
        *(errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP),
        *(errno.ENOLCK, errno.EMLINK, errno.ENOTTY),
    }
)
"""How file systems say that they don't have a call: each has its own way."""


def write_all(fd: int, data: bytes) -> None:
    """`os.write` until all is taken: a full disk takes a part and says nothing."""
    view = memoryview(data)
    while view:
        view = view[_taken(os.write(fd, view)) :]


def _taken(count: int) -> int:
    """A count of bytes that is progress; a write that takes nothing would be tried for ever."""
    if count <= 0:
        raise OSError(errno.EIO, "the file takes no more bytes")
    return count


@contextmanager
def needing(what: str, path: Path) -> Iterator[None]:
    """Around one system call that a file system may not have: a lack is said in words.

    Raises:
        LedgerUnwritable: it has not; OSError: all else that the call meets.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _LACKS:
            raise
        raise LedgerUnwritable(
            f"the file system of {real(path).parent} has no {what} ({error.strerror}): a ledger "
            "can't be kept safe there. Network shares, exFAT and FUSE may lack them: put the "
            "ledger on a local disk with --ledger"
        ) from error


def lock_alone(fd: int, path: Path) -> None:
    """An exclusive lock on the open file, or BlockingIOError."""
    with needing("locks", path):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def link(temporary: Path, path: Path) -> None:
    """The ledger's own name for a file that is whole; FileExistsError where somebody has it."""
    with needing("hard links", path):
        os.link(temporary, path)


def sync_data(fd: int) -> None:
    """Make the file's bytes, and the size they need, durable on the medium itself."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync stops at the drive's cache there
    else:
        os.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with needing("way to make a name in a folder last (its fsync)", folder / "ledger"):
            os.fsync(fd)
    finally:
        os.close(fd)


def keep_name(home: Path) -> None:
    """A newborn whose name would not last is taken away again: nothing was sent for it."""
    try:
        sync_folder(home.parent)
    except (OSError, LedgerUnwritable):
        home.unlink()
        raise


def real(path: Path) -> Path:
    """Where the file itself is or will be: copies and new files go beside it, not beside a link."""
    return Path(os.path.realpath(path))


def broken(path: Path) -> Path:
    """The first name under which recovery keeps what it cuts."""
    home = real(path)
    return home.with_name(f"{home.name}.broken")


def append_only(fd: int) -> None:
    """Write at the end wherever that is, so that a file which another program cut shows it. Not
    before recovery: `pwrite` would append too."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)


def open_locked(path: Path) -> int:
    """An exclusive lock on the file that the path names now, not on one that was moved away."""
    while True:
        try:
            # not blocking: the open of a named pipe would wait for its other end
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise LedgerUnwritable(f"can't open {path}: {error.strerror}") from error
        try:
            _lock(path, fd)
        except BaseException:
            os.close(fd)
            raise
        if is_at(path, fd):
            return fd
        os.close(fd)


def _lock(path: Path, fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise LedgerUnwritable(f"{path} is no regular file: a ledger must be one")
    try:
        lock_alone(fd, path)
    except BlockingIOError:
        raise LedgerLocked(
            f"another process is at work on {path}: wait for it, or stop it"
        ) from None
    except OSError as error:
        raise LedgerUnwritable(f"can't lock {path}: {error}") from error


def is_at(path: Path, fd: int) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def keep_broken(path: Path, fd: int, offset: int) -> None:
    """Copy what recovery will cut to the first free PATH.broken[.N], durably or not at all."""
    first = target = broken(path)
    number = 1
    while os.path.lexists(target):
        number += 1
        target = first.with_name(f"{first.name}.{number}")
    copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        while block := os.pread(fd, BLOCK, offset):
            write_all(copy, block)
            offset += len(block)
        os.fsync(copy)
    except BaseException:
        target.unlink()  # on a full disk each try would leave another half copy
        raise
    finally:
        os.close(copy)
    sync_folder(target.parent)


def rewrite_unproven(fd: int, scan: Scan) -> None:
    """Write again what no later record proves durable: after a failed sync the kernel may show
    pages as clean that never reached the disk."""
    start, lines = scan.end, scan.last_seq - scan.synced
    while start and lines >= 0:
        size = min(BLOCK, start)
        start -= size
        lines -= os.pread(fd, size, start).count(b"\n")
    while start < scan.end:
        block = os.pread(fd, min(BLOCK, scan.end - start), start)
        start += _taken(os.pwrite(fd, block, start))


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


class Scribe:
    """A thread that does the blocking calls of one task, one after the other; a context manager of
    the event loop's thread.

    A call through the event loop's pool costs 135 µs of CPU, through this 50; at 20 rows a second
    each outcome is such a call.
    """

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None]
        self._calls = SimpleQueue()
        # Not awaited at the end of the process: a disk that hangs would hold it for ever.
        threading.Thread(target=self._work, name="ledger", daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._calls.put(None)

    async def do(self, call: Callable[[], None]) -> None:
        """Return when it is done, cancelled or not; what it raises is raised."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._calls.put((call, future))
        with anyio.CancelScope(shield=True):
            await future

    def _work(self) -> None:
        while (job := self._calls.get()) is not None:
            call, future = job
            error: Exception | None = None
            try:
                call()
            except Exception as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_tell, future, error)


def _tell(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():  # cancelled
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
