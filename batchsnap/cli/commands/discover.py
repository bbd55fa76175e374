"""`batchsnap discover`: DescribeDisks to a manifest that `plan` and `run` take as it is."""

from __future__ import annotations

import csv
import io
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsnap.cli.options import KEY_VALUE, Region, cloud_options, option
from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import fail_softly, say, show
from batchsnap.errors import BatchsnapError, Exit, UsageError
from batchsnap.settings import counted

if TYPE_CHECKING:
    from batchsnap.job.discover import Found, Wanted


@new_command("discover")
@option(
    "--region",
    "regions",
    type=Region(),
    multiple=True,
    required=True,
    metavar="R",
    help="Repeat for more.",
)
@option("--tag", "tags", type=KEY_VALUE, multiple=True, metavar="K=V", help="Disks with this tag.")
@option("--instance", "instances", multiple=True, metavar="ID", help="Disks of this instance.")
@option("--zone", "zones", multiple=True, metavar="Z", help="Disks in this zone.")
@option(
    "--disk-usage",
    "usage",
    type=click.Choice(["SYSTEM_DISK", "DATA_DISK"], case_sensitive=False),
    help="Only disks of this use.",
)
@option("--project", "projects", multiple=True, metavar="ID", help="Disks of this project.")
@option("--attached/--unattached", default=None, help="Only disks that are (not) attached.")
@option("-o", "--output", type=click.Path(path_type=Path), help="Write here instead of stdout.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@cloud_options()
def command(output: Path | None, *, force: bool, **options: Any) -> int:
    """Find disks and write a manifest, with columns to review it by. What can't be snapshotted is
    left out, and said."""
    import anyio

    from batchsnap.job.discover import Wanted, spread, unfit
    from batchsnap.manifest.cells import unknown_regions

    if output is not None and output.exists() and not force:
        raise UsageError(_EXISTS.format(output))
    for text in unknown_regions(options["regions"]):
        fail_softly(text)

    names = ("tags", "instances", "zones", "projects", "attached")
    wanted = Wanted(usage=(options["usage"] or "").upper(), **{n: options[n] for n in names})
    found = anyio.run(partial(_discover, wanted, options))
    reasons = Counter(why for one in found if (why := unfit(one.disk)))
    for one in found:
        if why := unfit(one.disk):
            say(f"left out: {one.disk.disk_id} in {one.region} {why}")
    fit = spread(one for one in found if not unfit(one.disk))
    code = _write(fit, output, force=force)
    say(f"{counted(len(fit), 'disk')}, {reasons.total():,} left out")
    return code


async def _discover(wanted: Wanted, options: dict[str, Any]) -> list[Found]:
    from batchsnap.client.connections import connected
    from batchsnap.client.questions import Unanswered
    from batchsnap.clock import LoopClock
    from batchsnap.cloud.credentials import chain
    from batchsnap.cloud.endpoints import check_endpoint, endpoint_url
    from batchsnap.job.discover import discover
    from batchsnap.settings import ENDPOINT_DEFAULT, Settings

    endpoint = options["endpoint"] or ENDPOINT_DEFAULT
    check_endpoint(endpoint)
    credentials = chain(endpoint, options["regions"][0])
    profile = options["profile"] or ""
    await credentials.get(profile)
    found: list[Found] = []
    async with connected(Settings(), LoopClock(), credentials, shared=True, say=say) as connections:
        for region in dict.fromkeys(options["regions"]):
            account = connections.account(profile, endpoint_url(endpoint, region))
            answer = await discover(account, region, wanted, say)
            if isinstance(answer, Unanswered):
                raise Undiscovered(f"{region}: {answer.code}: {answer.message}")
            found += answer
    return found


class Undiscovered(BatchsnapError):
    """A region did not answer; no manifest was written."""

    exit_code = Exit.HALTED


_EXISTS = "{} exists: write elsewhere, or overwrite it with --force"
_COLUMNS = ("DiskId", "Region", "DiskName", "DiskSize", "DiskUsage", "InstanceId", "DiskState")


def _write(found: list[Found], output: Path | None, *, force: bool) -> int:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, "SnapshotCount"])
    for disk, region in found:
        facts = (disk.name, disk.size_gib, disk.usage, disk.instance_id, disk.state)
        writer.writerow([disk.disk_id, region, *facts, disk.snapshot_count])
    if output is None:
        return show(text.getvalue())
    try:
        output.open("a" if force else "x").close()  # "x" fails where the name has come up meanwhile
    except FileExistsError:
        raise UsageError(_EXISTS.format(output)) from None
    temporary = output.with_name(f".{output.name}.tmp")
    temporary.write_text(text.getvalue(), encoding="utf8")
    temporary.replace(output)
    return int(Exit.DONE)
