"""One format of the quota files at work at a time.

Processes of two formats can't see each other's starts: each would make twenty a second. So each
holds a shared lock on its format's own file while it is at work, and begins only while nobody holds
another's. The name of these files and what their locks mean are the same for every format.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from batchsnap.pacing.quota_file import try_lock
from batchsnap.pacing.starts import FORMAT


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
