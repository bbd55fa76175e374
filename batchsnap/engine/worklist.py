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
    """Written once, then read once in batches."""

    def __init__(self) -> None:
        self.rows = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="batchsnap-")  # noqa: SIM115

    def add(self, request: PlannedRequest) -> None:
        """Append a row; raises as `seal` does."""
        try:
            self._file.write(orjson.dumps(tuple(request)) + b"\n")
        except OSError as error:
            raise _full(error) from error
        self.rows += 1

    def seal(self) -> None:
        """End writing.

        Raises:
            UsageError: the temporary folder is full.
        """
        try:
            self._file.seek(0)
        except OSError as error:
            raise _full(error) from error

    def batches(self, size: int) -> Iterator[list[PlannedRequest]]:
        """All rows in order, `size` at a time."""
        while lines := list(islice(self._file, size)):
            yield [_request(line) for line in lines]

    def close(self) -> None:
        self._file.close()


def _full(error: OSError) -> UsageError:
    return UsageError(
        f"can't write to the temporary folder {tempfile.gettempdir()}: {error.strerror}. "
        "Nothing was sent. Make room, or point TMPDIR to another folder"
    )


def _request(line: bytes) -> PlannedRequest:
    values = orjson.loads(line)
    values[-1] = tuple(map(tuple, values[-1]))
    return PlannedRequest(*values)
