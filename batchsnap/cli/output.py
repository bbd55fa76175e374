"""What is said and shown: words for the person on stderr, results on stdout; both outlive whoever
reads them: a closed pipe, a session that dropped, a terminal held by Ctrl-S.

A run goes on without its audience. What it must not lose is in the ledger, so no failure to write
talk may reach it, hold it up, nor change the exit code that it earned.
"""

from __future__ import annotations

import atexit
import codecs
import errno
import io
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from batchsnap.errors import Exit
from batchsnap.ledger.record import Record
from batchsnap.lifecycle import FAILED_WORDS, Event

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import Console

_HELD = 1 << 20  # bytes that wait for a reader; what comes above is dropped
_PATIENCE_S = 2.0  # for a reader, at the end
_ESCAPING = "batchsnap.escaping"
_LOUD = FAILED_WORDS | {Event.IN_DOUBT, Event.HALTED, Event.DOUBLED}
_format = {"json": False, "quiet": False}
_views: list[Console] = []  # what is drawn on, innermost last


def set_log_format(_ctx: click.Context, _param: click.Parameter, value: str) -> None:
    """--log-format: how `say` writes from here on."""
    _format["json"] = value == "json"


def set_quiet(_ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    """--quiet: `note` says nothing from here on."""
    _format["quiet"] = value
    return value


def note(text: str) -> None:
    """What is good to know and nothing wrong: not said to who asked for quiet."""
    if not _format["quiet"]:
        say(text)


def on_terminal() -> bool:
    """Whether stderr is a terminal that may be drawn on."""
    return not _format["json"] and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def spoken_above(console: Console) -> Iterator[None]:
    """While the block draws on this console, what is said stands above the picture and stays."""
    _views.append(console)
    try:
        yield
    finally:
        _views.remove(console)


def say(text: str, **details: object) -> None:
    """One line to stderr; `details` go into a JSON line only."""
    writer = talk_writer()
    if writer is not None and writer.took_loss():
        _line("what was said here meanwhile is lost: nobody read it", {})
    _line(text, details)


def _line(text: str, details: dict[str, object]) -> None:
    if _format["json"]:
        import orjson

        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        message = text.encode(errors="backslashreplace").decode()  # a path may hold any byte
        text = orjson.dumps({"at": at, "message": message, **details}).decode()
    elif _views:
        _views[-1].print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
        return
    click.echo(text, err=True)


def show(text: str, earned: int = Exit.DONE, *, talk: bool = False) -> int:
    """Results to stdout, whole, however slowly they are read. `talk`: words for a person, which on
    a terminal wait for nobody, and are left out where all went well and quiet was asked for.

    Returns the exit code: what was earned, but not 0 where the results could not be written.
    """
    if talk and _format["quiet"] and not earned:
        return int(earned)
    if talk and sys.stdout.isatty() and sys.stderr.isatty():
        click.echo(text, err=True)
        return int(earned)
    drain()
    try:
        click.echo(text, nl=not text.endswith("\n"))
    except OSError as error:
        say(f"batchsnap: {error}: the results could not be written to standard output")
        return int(earned or Exit.UNFINISHED)
    return int(earned)


def fail_softly(text: str) -> None:
    """A warning: the run goes on."""
    say(f"warning: {text}")


def record_line(record: Record, verbose: int) -> str:
    """A record for -v (what went wrong) and -vv (everything), or "" to say nothing."""
    event = record["event"]
    if "key" not in record or (verbose < 2 and event not in _LOUD and event != Event.DEFERRED):
        return ""
    parts = [record["at"], event, record["key"]]
    details = (record.get("snapshot_id"), record.get("code"), record.get("message"))
    parts += [text for text in details if text]
    return " ".join(parts)


class Writer:
    """Writes talk to a descriptor, in order, from a thread of its own: who speaks never waits for
    who reads. What finds no room is dropped, and so is the rest once the reader has left."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._held = 0  # bytes that are not written yet
        self._lost = False
        self._thread: threading.Thread | None = None

    def put(self, data: bytes) -> None:
        """Write it soon, whole, or drop it."""
        with self._changed:
            if self._held and self._held + len(data) > _HELD:
                self._lost = True
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="talk", daemon=True)
                self._thread.start()
            self._waiting.append(data)
            self._held += len(data)
            self._changed.notify_all()

    @property
    def behind(self) -> bool:
        """Whether something still waits for its reader."""
        return self._held > 0

    def took_loss(self) -> bool:
        """Whether something was dropped since this was last asked, and the reader is back."""
        with self._changed:
            lost, self._lost = self._lost and not self._held, self._lost and self._held > 0
            return lost

    def drain(self) -> None:
        """Wait until all is written, but not for long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held, _PATIENCE_S)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                # All at once: the interpreter lets this thread in only now and then.
                data = b"".join(self._waiting)
                self._waiting.clear()
            with suppress(OSError):  # nobody is there, or a full disk: the next may find room
                _write_whole(self._fd, data)
            with self._changed:
                self._held -= len(data)
                self._changed.notify_all()


def _write_whole(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # whoever shares the descriptor made it so
            select.select([], [fd], [])


def outlive_readers() -> None:
    """Before anything is written: make both streams so. A closed standard input is an empty one."""
    codecs.register_error(_ESCAPING, _escaped)
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf8")  # noqa: SIM115
    sys.stdout = _tough(sys.stdout, _Results)
    sys.stderr = _tough(sys.stderr, _Talk)
    atexit.register(drain)


def talk_writer() -> Writer | None:
    """Whose turn it is to write what is said on stderr; None where that is not ours."""
    raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    return raw.writer if isinstance(raw, _Talk) else None


def drain() -> None:
    """Let what was said be read, but don't wait long for it."""
    if (writer := talk_writer()) is not None:
        writer.drain()


def _tough(stream: TextIO | None, kind: type[_Talk] | type[_Results]) -> TextIO:
    if stream is None:  # closed from the start: `2>&-`
        return Path(os.devnull).open("w", encoding="utf8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=_ESCAPING,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Characters that an encoding lacks, as JSON may escape them: a cloud's message in Chinese is
    said on any terminal, and JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)), error.end


class _Talk(io.FileIO):
    """Words for a person: what can't be written, or is not read, is dropped."""

    def __init__(self, fd: int, mode: str, *, closefd: bool) -> None:
        super().__init__(fd, mode, closefd=closefd)
        self.writer = Writer(fd)

    def write(self, data: ReadableBuffer, /) -> int:
        whole = bytes(data)
        self.writer.put(whole)
        return len(whole)


class _Results(io.FileIO):
    """Data for a reader: waits for a slow one, dropped once it has left. Any other failure, such as
    a full disk, is told once, and not again when the interpreter flushes at its exit."""

    def __init__(self, fd: int, mode: str, *, closefd: bool) -> None:
        super().__init__(fd, mode, closefd=closefd)
        hung_up = {errno.EIO} if self.isatty() else set()
        self._left = {errno.EPIPE, *hung_up}
        self._failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self._failed:
            return len(memoryview(data))
        try:
            while (taken := super().write(data)) is None:  # whoever shares it made it not wait
                select.select([], [self.fileno()], [])
        except OSError as error:
            self._failed = True
            if error.errno not in self._left:
                raise
            return len(memoryview(data))
        return taken
