"""Words for the person, on stderr: plain lines, or JSON ones; no colour unless it is a terminal.

Results, on stdout, are shown from here too: once what was said before them is out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from batchsnap.cli.streams import drain, talk_writer
from batchsnap.errors import Exit
from batchsnap.ledger.record import Record

if TYPE_CHECKING:
    from rich.console import Console

_LOUD = {"rejected", "gave_up", "in_doubt", "halted", "doubled", "vanished"}
_format = {"json": False}
_views: list[Console] = []  # what is drawn on, innermost last


def set_log_format(_ctx: click.Context, _param: click.Parameter, value: str) -> None:
    """--log-format: how `say` writes from here on."""
    _format["json"] = value == "json"


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
    a terminal wait for nobody.

    Returns the exit code: what was earned, but not 0 where the results could not be written.
    """
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
    if "key" not in record or (verbose < 2 and event not in _LOUD and event != "deferred"):
        return ""
    parts = [record["at"], event, record["key"]]
    details = (record.get("snapshot_id"), record.get("code"), record.get("message"))
    parts += [text for text in details if text]
    return " ".join(parts)
