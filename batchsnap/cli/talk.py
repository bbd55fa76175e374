"""Words for the person, on stderr: plain lines, no colour unless stderr is a terminal."""

from __future__ import annotations

import os
import sys

import click

from batchsnap.ledger.record import Record

_LOUD = {"rejected", "gave_up", "in_doubt", "halted", "doubled", "vanished"}


def on_terminal() -> bool:
    """Whether stderr is a terminal that may be drawn on."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """One line to stderr."""
    click.echo(text, err=True)


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
