"""stdout and stderr that outlive whoever reads them: a closed pipe, a session that dropped.

A run goes on without its audience. What it must not lose is in the ledger, so no failure to write
talk may reach it, nor change the exit code that it earned.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def outlive_readers() -> None:
    """Before anything is written: make both streams so. A closed standard input is an empty one."""
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf8")  # noqa: SIM115
    sys.stdout = _tough(sys.stdout, _Results)
    sys.stderr = _tough(sys.stderr, _Talk)


def _tough(stream: TextIO | None, kind: type[io.FileIO]) -> TextIO:
    if stream is None:  # closed from the start: `2>&-`
        return Path(os.devnull).open("w", encoding="utf8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Talk(io.FileIO):
    """Words for a person: what can't be written is dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data) or len(memoryview(data))
        except OSError:
            return len(memoryview(data))


class _Results(io.FileIO):
    """Data for a reader: dropped once it has left. Any other failure, such as a full disk, is told
    once, and not again when the interpreter flushes at its exit."""

    def __init__(self, fd: int, mode: str, *, closefd: bool) -> None:
        super().__init__(fd, mode, closefd=closefd)
        hung_up = {errno.EIO} if self.isatty() else set()
        self._left = {errno.EPIPE, *hung_up}
        self._failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self._failed:
            return len(memoryview(data))
        try:
            return super().write(data)
        except OSError as error:
            self._failed = True
            if error.errno not in self._left:
                raise
            return len(memoryview(data))
