"""Owns the door of the manifest: opens a path or standard input, streams rows, digests bytes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from batchsnap.errors import UsageError
from batchsnap.manifest import documents, encoding, tables
from batchsnap.manifest.cells import region_flaw
from batchsnap.model import DiskRow, Problem

BLOCK_BYTES = 1 << 18


class Manifest:
    """A manifest, open. Rows can be read any number of times, also at once.

    Every pass reads the file that was opened, whatever the path names by then.
    """

    def __init__(self, file: BinaryIO, name: str, path: str, wanted: str | None) -> None:
        """Takes over `file`, which must be able to seek. `open` is the usual way in."""
        self.name = name
        self.path = path
        self.ignored: list[str] = []
        self.guessed_text = ""  # a name or tag that hangs on a guess of the encoding, if there is
        self._file = file
        self._stamp = self._stamp_now()
        self._digest = ""
        head = os.pread(file.fileno(), 64, 0)
        self.encoding = encoding.find(self._blocks, head, wanted)
        self.warnings = [self.encoding.warning] if self.encoding.warning else []

    @classmethod
    def open(cls, path: str, *, encoding: str | None = None) -> Manifest:
        """Opens `path`, or standard input for `-`, and finds the encoding: one read of it all.

        What cannot seek (a pipe, standard input) is first copied to a temporary file that has no
        name. `encoding` overrides what the bytes say.

        Raises:
            UsageError: there is no such file, it is a folder or may not be read, or `encoding`
                is no text encoding.
        """
        try:
            if path == "-":
                file, whole = _spooled(sys.stdin.buffer), "-"
            else:
                file, whole = _opened(path), str(Path(path).absolute())
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(
                f"Cannot read the manifest {path}: {reason}. Give the path of a file, or - for "
                f"standard input."
            ) from None
        try:
            return cls(file, path, whole, encoding)
        except BaseException:
            file.close()
            raise

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Manifest:
        """Rows from memory, by the names of the columns. They are spooled: the iterable is walked
        once, and nothing of it is kept.

        Raises:
            TypeError: a row is no mapping, or a value has no form in JSON.
        """
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - the manifest closes it
        try:
            for number, row in enumerate(rows, 1):
                if not isinstance(row, Mapping):
                    kind = type(row).__name__
                    raise TypeError(f"row {number} is a {kind}, and no mapping of column to value")
                try:
                    spool.write(orjson.dumps(dict(row), option=orjson.OPT_APPEND_NEWLINE))
                except orjson.JSONEncodeError as error:
                    raise TypeError(f"row {number}: {error}") from None
            spool.flush()
            return cls(spool, "rows", "rows", None)
        except BaseException:
            spool.close()
            raise

    @property
    def encoding_name(self) -> str:
        """As `--encoding` takes it."""
        return self.encoding.name

    def rows(self, *, region: str = "") -> Iterator[DiskRow | Problem]:
        """One streaming pass, in the order of the file: rows, and whatever is wrong with others.

        `region` is for rows that name none. `ignored` and `warnings` are complete when the pass
        is. A file without any row is a problem too.

        Raises:
            UsageError: `region` is no region id.
        """
        if region and (flaw := region_flaw(region)):
            raise UsageError(f"Region {flaw}.")
        if fault := self.encoding.fault:
            return iter((Problem(self.name, fault.line, "", fault.what),))
        # chain, not one more generator: a million rows pass through here.
        parsed = self._parsed(region)
        return chain(self._noting(parsed) if self.encoding.guessed else parsed, self._afterwards())

    def _parsed(self, region: str) -> Iterator[DiskRow | Problem]:
        """The format is told by the first character that is not space; names do not matter."""
        first = _first_character(self._text())
        if not first:
            return iter((Problem(self.name, 0, "", "empty; a manifest names at least one disk"),))
        text = self._text()
        if first not in "{[":
            return tables.rows(text, source=self.name, region=region, ignored=self.ignored)
        return documents.rows(
            text, source=self.name, region=region, ignored=self.ignored, notes=self.warnings
        )

    def _noting(self, rows: Iterator[DiskRow | Problem]) -> Iterator[DiskRow | Problem]:
        """Keep the first text that would be sent and that the guess may have got wrong."""
        for row in rows:
            if isinstance(row, DiskRow) and not self.guessed_text:
                texts = (row.snapshot_name, *(text for tag in row.tags for text in tag))
                self.guessed_text = next((text for text in texts if not text.isascii()), "")
            yield row

    def _afterwards(self) -> Iterator[Problem]:
        if self._stamp_now() != self._stamp:
            yield Problem(self.name, 0, "", "changed while it was being read; start again")

    def _text(self) -> io.TextIOWrapper:
        raw = io.BufferedReader(_Pass(self._file.fileno()), BLOCK_BYTES)
        return io.TextIOWrapper(raw, encoding=self.encoding.name, newline="")

    def _blocks(self) -> Iterator[bytes]:
        offset = 0
        while block := os.pread(self._file.fileno(), BLOCK_BYTES, offset):
            yield block
            offset += len(block)

    def _stamp_now(self) -> tuple[int, int]:
        now = os.fstat(self._file.fileno())
        return now.st_size, now.st_mtime_ns

    def first_line(self) -> bytes:
        """As it stands in the file, at most 256 KiB of it."""
        return os.pread(self._file.fileno(), BLOCK_BYTES, 0).partition(b"\n")[0] + b"\n"

    def digest(self) -> str:
        """SHA-256 of the raw bytes, in hex; computed once."""
        if not self._digest:
            sha256 = hashlib.sha256()
            for block in self._blocks():
                sha256.update(block)
            self._digest = sha256.hexdigest()
        return self._digest

    def close(self) -> None:
        """Closes the file; passes that still run fail."""
        self._file.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class _Pass(io.RawIOBase):
    """A reader with an offset of its own, so that passes over one descriptor do not meet."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer
        count = os.preadv(self._fd, [buffer], self._offset)
        self._offset += count
        return count


def _first_character(text: io.TextIOWrapper) -> str:
    while block := text.read(4096):
        if bare := block.lstrip("\ufeff \t\r\n"):
            return bare[0]
    return ""


def _opened(path: str) -> BinaryIO:
    file = Path(path).open("rb")  # noqa: SIM115 - the manifest closes it
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    with file:
        return _spooled(file)


def _spooled(source: BinaryIO) -> BinaryIO:
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - the manifest closes it
    shutil.copyfileobj(source, spool, BLOCK_BYTES)
    spool.flush()
    return spool
