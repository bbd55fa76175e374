"""The rows to do of one queue, in an unlinked temporary file.

Spooling the validated rows frees the run from the manifest: standard input needs no second
reading, an edit in mid-run changes nothing, and a queue reads only its own rows.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import IO

import orjson

from batchsnap.errors import UsageError
from batchsnap.model import PlannedRequest

_MARK_EVERY = 64
_TAGS = PlannedRequest._fields.index("tags")


class Worklist:
    """Written once, then read once in batches; some rows may be taken out of their turn. Without
    rows there is no file."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._rows = 0
        self._fresh = 0  # rows before those that go last
        self._read = 0
        self._bytes = 0
        self._marks = array("Q")  # where each 64th row begins
        self._taken: set[int] = set()  # rows ahead that had their turn

    def add(self, request: PlannedRequest, *, last: bool = False) -> None:
        """Append a row; once one is added that goes `last`, so must all others. Raises as `seal`
        does."""
        line = orjson.dumps(tuple(request)) + b"\n"
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="batchsnap-")  # noqa: SIM115
            self._file.write(line)
        except OSError as error:
            raise _full(error) from error
        if self._rows % _MARK_EVERY == 0:
            self._marks.append(self._bytes)
        self._rows += 1
        self._fresh += not last
        self._bytes += len(line)

    def seal(self) -> None:
        """End writing.

        Raises:
            UsageError: the temporary folder is full.
        """
        try:
            if self._file is not None:
                self._file.seek(0)
        except OSError as error:
            raise _full(error) from error

    def batches(self, size: int) -> Iterator[list[PlannedRequest]]:
        """All rows in order, `size` at a time."""
        while batch := self._next(size):
            yield batch

    def coming(self, most: int) -> list[PlannedRequest]:
        """The next rows, which stay where they are."""
        if self._file is None:
            return []
        here, read = self._file.tell(), self._read
        rows = self._next(most)
        self._file.seek(here)
        self._read = read
        return rows

    def from_elsewhere(self, most: int, beyond: int) -> list[PlannedRequest]:
        """Rows spread over all that is more than `beyond` rows ahead, without those that go last;
        they have their turn now."""
        first = self._read + beyond
        left = self._fresh - first
        if self._file is None or left < most:
            return []
        numbers = {first + left * (nth + 1) // most - 1 for nth in range(most)} - self._taken
        here = self._file.tell()
        rows = []
        for number in sorted(numbers):
            self._file.seek(self._marks[number // _MARK_EVERY])
            [line] = islice(self._file, number % _MARK_EVERY, number % _MARK_EVERY + 1)
            rows.append(_request(line))
        self._file.seek(here)
        self._taken |= numbers
        return rows

    def close(self) -> None:
        """Let go of the file, read or not."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self, size: int) -> list[PlannedRequest]:
        rows: list[PlannedRequest] = []
        while self._file is not None and len(rows) < size and (line := self._file.readline()):
            if self._read not in self._taken:
                rows.append(_request(line))
            self._read += 1
        return rows


def _full(error: OSError) -> UsageError:
    return UsageError(
        f"can't write to the temporary folder {tempfile.gettempdir()}: {error.strerror}. "
        "Nothing was sent. Make room, or point TMPDIR to another folder"
    )


def _request(line: bytes) -> PlannedRequest:
    values = orjson.loads(line)
    values[_TAGS] = tuple(map(tuple, values[_TAGS])) if values[_TAGS] else ()
    return PlannedRequest._make(values)
