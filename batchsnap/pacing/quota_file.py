"""The starts of every process of one user on one machine: one small locked file a quota.

Processes share a quota rather than refuse each other: a nightly run, a `settle` beside it and
another team's manifest are all legitimate, and the cap holds only if each sees the others' starts.

The file's name holds the boot, because its times are CLOCK_MONOTONIC, which all processes of one
boot share: an earlier boot's file, or another machine's in a shared home, is never looked at.
Nothing needs fsync: a power loss ends the boot. It holds the number of the format too.

Processes of two formats can't see each other's starts: each would make twenty a second. So each
holds a shared lock on its format's own file while it is `AtWork`, and begins only while nobody
holds another's. The name of these files and what their locks mean are the same for every format.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import mmap
import os
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from batchsnap.model import Quota
from batchsnap.pacing.starts import FORMAT, SIZE, Starts

_STALE_S = 7 * 24 * 3600.0
SAID_AFTER_S = 5.0
_WAIT_FIRST_S = 0.001
_WAIT_MOST_S = 0.05
_ANEW_S = 1.0  # nobody asked for so long: what was before says nothing


def home_folder() -> Path:
    """Where all processes of the user look, whatever their temporary folder."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111
    return Path(home) / "batchsnap"


def state_folder() -> Path:
    """The user's state folder, or a private one under the temporary folder if that is closed.

    Raises:
        OSError: neither can be written.
    """
    folder = home_folder()
    try:
        if not folder.is_absolute():  # no home, or another one in each working folder
            raise FileNotFoundError(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    folder = Path(tempfile.gettempdir()) / f"batchsnap-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is not a folder of this user")
    return folder


def _boot_id() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b"no-boot-id"


def _digest(content: bytes, size: int) -> str:
    return hashlib.blake2b(content, digest_size=size).hexdigest()


class QuotaFile(Starts):
    """The shared starts of one quota. All methods need the lock unless they say otherwise.

    Raises:
        OSError: the folder can't be written, has no room, or its file system has no locks.
    """

    def __init__(self, folder: Path, quota: Quota) -> None:
        name = _digest("\0".join(quota).encode(), 12)
        self._path = folder / f"{name}-{_digest(_boot_id(), 4)}.{FORMAT}.starts"
        self._lost = False
        self._fd, self._map = self._open()
        super().__init__(self._map)
        self._tidy(name)

    def _open(self) -> tuple[int, mmap.mmap]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            # A file system without locks says so here, and not in the middle of a run.
            if try_lock(fd):
                fcntl.flock(fd, fcntl.LOCK_UN)
            _fill(fd)
            return fd, mmap.mmap(fd, SIZE)
        except BaseException:
            os.close(fd)
            raise

    def _tidy(self, name: str) -> None:
        """Remove what earlier boots left of this quota."""
        for other in self._path.parent.glob(f"{name}-*.starts"):
            with suppress(OSError):
                if other != self._path and time.time() - other.stat().st_mtime > _STALE_S:
                    other.unlink()

    @property
    def closed(self) -> bool:
        return self._map.closed

    def close(self) -> None:
        if not self.closed:
            self._map.close()
            os.close(self._fd)

    def lock(self) -> bool:
        """Take the lock; False where it can't be had at this instant: ask again."""
        if not try_lock(self._fd):
            return False
        try:
            if self._still_there():
                return True
        except BaseException:
            self.unlock()
            raise
        self.unlock()
        return False

    def unlock(self) -> None:
        """Let others have it."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def read(self, now: float) -> bool:
        """As the base's; False also when the file had been removed or cut under us."""
        lost, self._lost = self._lost, False
        return super().read(now) and not lost

    def _put(self, at: int, field: bytes) -> None:
        """In one piece, and whole even where the file was cut: the mapping would kill us there."""
        os.pwrite(self._fd, field, at)

    def _still_there(self) -> bool:
        """Mend a file that was cut; go over to the one that others find if ours was removed."""
        found = os.fstat(self._fd)
        if found.st_nlink:
            if found.st_size < SIZE:
                _fill(self._fd)
                self._lost = True
            return True
        fd, buffer = self._open()
        self.close()
        self._fd, self._map, self._lost = fd, buffer, True
        super().__init__(buffer)
        return False  # the new one isn't locked


def try_lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Whether the lock was to be had at this instant.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fill(fd: int) -> None:
    """Make the file whole, on disk: a page without room there would kill us when touched."""
    if os.fstat(fd).st_size < SIZE:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, SIZE)
        else:
            os.ftruncate(fd, SIZE)


class AtWork:
    """That a process of this format is at work, as those of another see it."""

    def __init__(self, folder: Path, number: int = FORMAT) -> None:
        self._folder = folder
        self._name = f"format-{number}.lock"
        self._fd = -1

    def begin(self) -> bool:
        """Whether we are at work from now on; False while another format is: ask again.

        We say so before we look, so of two that begin at once at least one sees the other.

        Raises:
            OSError: the folder can't be written, or its file system has no locks.
        """
        self._fd = _opened(self._folder / self._name)
        if try_lock(self._fd, fcntl.LOCK_SH) and not self._others():
            return True
        self.end()
        return False

    def end(self) -> None:
        """We are not at work any more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _others(self) -> bool:
        """Whether a process of another format is at work."""
        return any(
            _held(path) for path in self._folder.glob("format-*.lock") if path.name != self._name
        )


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _held(path: Path) -> bool:
    fd = _opened(path)
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


class Shut(ConnectionAbortedError):
    """No start is given any more; the text says why."""


class Contention:
    """How long a lock has been out of reach, and what is said and done meanwhile.

    Whoever holds a quota file's works for microseconds, so it is asked for again soon. A holder
    that was stopped (SIGSTOP) or hangs on its file system keeps it: that is said, and once it has
    lasted `most_s` no start is given, which `gave_up` is told.
    """

    def __init__(
        self,
        holder: str = "another process holds the quota file",
        *,
        said_after_s: float = SAID_AFTER_S,
        most_s: float = math.inf,
        say: Callable[[str], None] = lambda _: None,
        gave_up: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._holder = holder
        self._said_after_s = said_after_s
        self._most_s = most_s
        self._say = say
        self._gave_up = gave_up
        self._asked_at = -math.inf
        self._since = 0.0
        self._next_s = _WAIT_FIRST_S
        self._said = False

    def over(self) -> None:
        """The lock was taken: the next wait is a new one."""
        self._asked_at = -math.inf

    def wait_s(self, now: float) -> float:
        """Seconds until the next try.

        Raises:
            Shut: it lasted too long.
        """
        if now - self._asked_at > _ANEW_S:
            self._since, self._next_s, self._said = now, _WAIT_FIRST_S, False
        self._asked_at = now
        held_s = now - self._since
        if held_s >= self._most_s:
            text = f"{self._holder}, for {held_s:.0f} s now: giving up; run again"
            self._gave_up(text)
            raise Shut(text)
        if held_s >= self._said_after_s and not self._said:
            self._said = True
            self._say(
                f"{self._holder}: nothing is started until it is done; if it was stopped, let it "
                "go on (fg, kill -CONT) or end it"
            )
        wait, self._next_s = self._next_s, min(_WAIT_MOST_S, self._next_s * 2)
        return wait
