"""`batchsnap schema`: what scripts may rely on, as JSON Schema."""

from __future__ import annotations

from importlib.resources import files

import click
import orjson

from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import show

NAMES = ("record", "summary", "log")


@new_command("schema")
@click.argument("name", type=click.Choice(NAMES), required=False)
def command(name: str | None) -> int:
    """Print the JSON Schema of NAME: record (a line of a ledger), summary (what --json prints),
    log (a line of --log-format json); without NAME one object of all three.

    Each has a version in its $id. Members may be added within a version, none is taken away.
    """
    if name is not None:
        return show(_text(name))
    whole = {each: orjson.loads(_text(each)) for each in NAMES}
    return show(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode())


def _text(name: str) -> str:
    return files("batchsnap.cli").joinpath("schemas", f"{name}.json").read_text(encoding="utf8")
