"""Words for the person, on stderr: plain lines, or JSON ones; no colour unless it is a terminal."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import click

from batchsnap.ledger.record import Record

_LOUD = {"rejected", "gave_up", "in_doubt", "halted", "doubled", "vanished"}
_format = {"json": False}


def set_log_format(_ctx: click.Context, _param: click.Parameter, value: str) -> None:
    """--log-format: how `say` writes from here on."""
    _format["json"] = value == "json"


def on_terminal() -> bool:
    """Whether stderr is a terminal that may be drawn on."""
    return not _format["json"] and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str, **details: object) -> None:
    """One line to stderr; `details` go into a JSON line only."""
    if not _format["json"]:
        click.echo(text, err=True)
        return
    import orjson

    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    click.echo(orjson.dumps({"at": at, "message": text, **details}).decode(), err=True)


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
