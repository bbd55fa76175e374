"""`batchsnap demo`: the whole walk on one screen, against the built-in cloud."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsnap.cli.options import command as new_command
from batchsnap.cli.options import verbosity
from batchsnap.cli.output import say, show
from batchsnap.errors import UsageError

if TYPE_CHECKING:
    from batchsnap.job.run import Prepared
    from batchsnap.job.spec import Result
    from batchsnap.simulator.server import EmbeddedSimulator

_DISKS = 200
_REGIONS = ("ap-guangzhou", "ap-singapore", "eu-frankfurt")
_WAITS = 0.05  # a demo's patience, as a share of a real run's
_SETTLE_FOR_S = 3.0
_MANIFEST = "fleet.csv"
_LEDGER = "fleet.csv.simulated.ledger.jsonl"
_PAGE = "report.html"


@new_command("demo")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("batchsnap-demo"),
    show_default=True,
    help="Where to leave the files.",
)
@click.option(
    "--workers",
    type=click.IntRange(2, 6),
    metavar="N",
    help="Show N workers on one run, of which one is killed (needs the extra `demo`).",
)
@verbosity()
def command(folder: Path, *, workers: int | None, **options: Any) -> int:
    """Snapshot a sample fleet of 200 disks in three regions against the built-in cloud, which
    throttles, is busy and loses replies on the way. Needs no account and sends nothing out.

    Leaves fleet.csv, the ledger and report.html to look at.
    """
    if workers is not None:
        from batchsnap.cli.commands.demo_team import show_team

        return show_team(folder, workers, options)
    import anyio

    from batchsnap.job.run import prepare
    from batchsnap.job.spec import JobSpec
    from batchsnap.report.page import write_page
    from batchsnap.report.summary import summary_text
    from batchsnap.settings import Waits

    folder.mkdir(parents=True, exist_ok=True)
    manifest = _sample(folder / _MANIFEST)
    spec = JobSpec(
        manifest=str(manifest),
        ledger=str(folder / _LEDGER),
        new=True,
        simulated=True,
        given={"settle_for_s": _SETTLE_FOR_S, "timeout_s": 3.0},
        waits=Waits().scaled(_WAITS),
    )
    with ExitStack() as stack:
        prepared = prepare(spec)
        stack.callback(prepared.close)
        say(f"{_DISKS} sample disks in 3 regions, 20 calls a second, and a cloud with moods:")
        result, proof = anyio.run(partial(_run, prepared, options))
    page = folder / _PAGE
    write_page(prepared.store, page)
    lines = (
        summary_text(result.summary),
        f"  {proof}",
        f"look at: {manifest}  {manifest.with_name(prepared.store.name)}  {page}",
        f"next: batchsnap plan YOUR.csv (sends nothing; a first one: {manifest})",
    )
    return show("\n".join(lines), result.exit, talk=True)


async def _run(prepared: Prepared, options: dict[str, Any]) -> tuple[Result, str]:
    from batchsnap.cli.commands.run import cut_off
    from batchsnap.cli.progress import showing
    from batchsnap.client.stopping import Stop, watch_signals
    from batchsnap.job.accounts import rehearsed
    from batchsnap.simulator.scenario import preset

    stop, result = Stop(), None
    async with AsyncExitStack() as stack:
        simulator, credentials = stack.enter_context(rehearsed(preset("demo")))
        tasks = await stack.enter_async_context(showing(prepared, stop, options))
        tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
        result = await prepared.execute(simulator.url, credentials, stop, say)
    return result or cut_off(prepared, stop), counted_by(simulator)


def counted_by(cloud: EmbeddedSimulator) -> str:
    """What it made, how often and with which faults, in words."""
    state = cloud.state()
    disks = {snapshot["disk_id"] for snapshot in state["snapshots"]}
    played = ", ".join(f"{n} {kind}" for kind, n in state["faults"].items() if kind != "ok")
    return (
        f"the cloud's own count: {len(state['snapshots'])} snapshots of {len(disks)} disks, "
        f"{len(state['duplicates']['by_disk'])} twice; it played: {played}"
    )


def _sample(path: Path) -> Path:
    """The sample manifest; another file of that name is left alone."""
    from batchsnap.simulator.resources import sample_fleet

    rows = (f"{disk_id},{region}\n" for disk_id, region in sample_fleet(_DISKS, _REGIONS))
    text = "DiskId,Region\n" + "".join(rows)
    if path.exists() and path.read_text(encoding="utf8") != text:
        raise UsageError(f"{path} exists and is not the demo's: go elsewhere with --dir FOLDER")
    path.write_text(text, encoding="utf8")
    return path
