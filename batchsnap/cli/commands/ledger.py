"""`batchsnap ledger`: a PostgreSQL database's ledgers: the tables, the list, a copy as a file."""

from __future__ import annotations

from pathlib import Path

import click

from batchsnap.cli.output import say, show
from batchsnap.errors import Exit


@click.group("ledger")
def command() -> None:
    """Ledgers in PostgreSQL, on which many machines work together."""


@command.command("init")
@click.argument("url", metavar="URL")
@click.option("--worker", "workers", multiple=True, metavar="ROLE", help="May load and work.")
@click.option("--reader", "readers", multiple=True, metavar="ROLE", help="May read.")
def init(url: str, workers: tuple[str, ...], readers: tuple[str, ...]) -> int:
    """Make the tables in postgresql://HOST/DATABASE, once, by its owner; again is harmless."""
    from batchsnap.postgres.setup import init as prepare

    address = _address(url)
    prepare(address, workers=list(workers), readers=list(readers))
    say(f"{address.database} can hold ledgers now")
    return int(Exit.DONE)


@command.command("list")
@click.argument("url", metavar="URL")
def list_(url: str) -> int:
    """The ledgers of postgresql://HOST/DATABASE: name, phase, rows, quotas, when it was born."""
    import orjson

    from batchsnap.postgres.reading import listed, reader

    with reader(_address(url)) as database:
        lines = [
            f"{name}\t{phase}\t{rows or 0:,} rows\t{quotas} quotas\t{orjson.loads(header)['at']}"
            for name, phase, header, rows, quotas in listed(database)
        ]
    if not lines:
        say("no ledger yet")
        return int(Exit.DONE)
    return show("\n".join(lines))


@command.command("export")
@click.argument("url", metavar="URL")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A new file.")
def export(url: str, output: Path) -> int:
    """Write the ledger as one file, which status, report and jq read. A run on it asks first."""
    from batchsnap.postgres.address import need_ledger
    from batchsnap.postgres.store import export as write

    number = write(need_ledger(_address(url)), output)
    say(f"wrote {output}: {number:,} records")
    return int(Exit.DONE)


def _address(url: str):  # type: ignore[no-untyped-def]
    from batchsnap.postgres.address import given

    return given(url)
