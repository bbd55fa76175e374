"""Owns `batchsnap simulate`: the local cloud on a port, until it is told to stop."""

from __future__ import annotations

import asyncio
import csv
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from click.shell_completion import CompletionItem

from batchsnap.cli.options import command as new_command
from batchsnap.errors import UsageError

if TYPE_CHECKING:
    from batchsnap.simulator.scenario import Scenario


class _Scenario(click.ParamType[str]):
    """A preset's name, or a file of fields."""

    name = "scenario"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from batchsnap.simulator.scenario import PRESETS

        return [CompletionItem(n) for n in PRESETS if n.startswith(incomplete)] or [
            CompletionItem(incomplete, type="file")
        ]


@new_command("simulate")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0: any.")
@click.option(
    "--scenario",
    "source",
    type=_Scenario(),
    default="calm",
    show_default=True,
    metavar="PRESET|FILE.json",
    help="How the cloud behaves: calm, demo, hostile, lossy, strict, or a file of fields.",
)
@click.option("--seed", type=int, help="The same seed gives every disk the same faults.")
@click.option(
    "--fleet",
    "manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="MANIFEST",
    help="CSV with DiskId and Region: no other disk exists then.",
)
@click.option(
    "--disks", type=click.IntRange(1), metavar="N", help="Make up a fleet of N disks instead."
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set one field of the scenario."
)
@click.option("--json", "as_json", is_flag=True, help="Print where it listens as JSON.")
def command(
    *,
    host: str,
    port: int,
    source: str,
    seed: int | None,
    manifest: Path | None,
    disks: int | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a local imitation of the cloud, faults included. Ctrl-C ends it."""
    from batchsnap.simulator.resources import sample_fleet

    if manifest and disks:
        raise click.UsageError("--fleet and --disks exclude each other")
    try:
        scenario = _scenario(source, seed, changes)
        fleet = _fleet(manifest) if manifest else None
    except UsageError as error:
        raise click.UsageError(str(error)) from None
    if disks:
        fleet = list(sample_fleet(disks, seed=scenario.seed))
    try:
        asyncio.run(_serve(scenario, host, port, fleet, as_json))
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _scenario(source: str, seed: int | None, changes: tuple[str, ...]) -> Scenario:
    from batchsnap.simulator.scenario import preset, scenario_of

    if source.endswith(".json"):
        try:
            scenario = scenario_of(orjson.loads(Path(source).read_bytes()))
        except OSError as error:
            raise UsageError(f"{source}: {error.strerror}") from None
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{source}: not JSON: {error}") from None
    else:
        scenario = preset(source)
    values: dict[str, Any] = {} if seed is None else {"seed": seed}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise UsageError(f"--set {change}: must be KEY=VALUE")
        values[key] = _plain(text)
    return scenario.with_values(values)


def _plain(text: str) -> Any:
    """JSON where it is JSON, else the text itself: --set throttle_window=fixed needs no quotes."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _fleet(manifest: Path) -> list[tuple[str, str]]:
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        missing = {"DiskId", "Region"} - set(rows.fieldnames or ())
        if missing:
            raise UsageError(f"{manifest}: no column {' or '.join(sorted(missing))}")
        return [(row["DiskId"].strip(), row["Region"].strip()) for row in rows if row["DiskId"]]


async def _serve(
    scenario: Scenario, host: str, port: int, fleet: list[tuple[str, str]] | None, as_json: bool
) -> None:
    from batchsnap.client.stopping import heeded
    from batchsnap.simulator.auth import DEFAULT_KEYS
    from batchsnap.simulator.server import serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in {signal.SIGINT, signal.SIGTERM}.intersection(heeded()):
        loop.add_signal_handler(number, stop.set)
    [(secret_id, secret_key)] = DEFAULT_KEYS.items()
    async with serve(scenario, host=host, port=port, fleet=fleet) as simulator:
        if as_json:
            where = {"url": simulator.url, "secret_id": secret_id, "secret_key": secret_key}
            click.echo(orjson.dumps(where).decode())
        else:
            click.echo(f"listening on {simulator.url}")
        click.echo(
            f"export TENCENTCLOUD_SECRET_ID={secret_id}\n"
            f"export TENCENTCLOUD_SECRET_KEY={secret_key}\n"
            f"export BATCHSNAP_ENDPOINT={simulator.url}",
            err=True,
        )
        await stop.wait()
