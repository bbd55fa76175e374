"""The rows to do of one strand, in an unlinked temporary file.

Spooling the validated rows frees the run from the manifest: standard input needs no second
reading, an edit in mid-run changes nothing, and a strand reads only its own rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import IO

import orjson

from batchsnap.errors import UsageError
from batchsnap.model import PlannedRequest


class Worklist:
    """Written once, then read once in batches. Without rows there is no file."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def add(self, request: PlannedRequest) -> None:
        """Append a row; raises as `seal` does."""
        line = orjson.dumps(tuple(request)) + b"\n"
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="batchsnap-")  # noqa: SIM115
            self._file.write(line)
        except OSError as error:
            raise _full(error) from error

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
        while self._file is not None and (lines := list(islice(self._file, size))):
            yield [_request(line) for line in lines]

    def close(self) -> None:
        """Let go of the file, read or not."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _full(error: OSError) -> UsageError:
    return UsageError(
        f"can't write to the temporary folder {tempfile.gettempdir()}: {error.strerror}. "
        "Nothing was sent. Make room, or point TMPDIR to another folder"
    )


def _request(line: bytes) -> PlannedRequest:
    values = orjson.loads(line)
    values[-1] = tuple(map(tuple, values[-1]))
    return PlannedRequest(*values)
