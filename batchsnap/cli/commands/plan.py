"""`batchsnap plan`: everything that can be said about a run before anything is sent."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import orjson

from batchsnap.cli.commands.run import run_options, spec_of
from batchsnap.cli.options import MANIFEST
from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import fail_softly, say, show
from batchsnap.errors import Exit

if TYPE_CHECKING:
    from batchsnap.job.preview import Online, Outlook
    from batchsnap.job.spec import JobSpec


@new_command("plan")
@click.argument("manifest", metavar="MANIFEST", type=MANIFEST)
@run_options()
@click.option("--online", is_flag=True, help="Ask DescribeDisks about each row.")
def command(manifest: str, **options: Any) -> int:
    """Validate MANIFEST and say what `run` with these options would do. Sends nothing, writes
    nothing.

    With --online every disk is looked up: exit 2 where one is missing or can't be snapshotted.
    """
    return show_plan(manifest, options)


def show_plan(manifest: str, options: dict[str, Any]) -> int:
    """Say what a run would do; the exit code."""
    import anyio

    from batchsnap.job.preview import look_ahead

    spec, online = spec_of(manifest, options), options.get("online", False)
    outlook = look_ahead(spec, spool=online)
    for text in outlook.warnings:
        fail_softly(text)
    found = anyio.run(partial(_check, outlook)) if online else None
    if found is not None:
        for problem in [*found.warnings, *found.problems]:
            say(str(problem))
        for text in found.unanswered:
            fail_softly(f"not checked: {text}")
    code = Exit.USAGE if found is not None and found.problems else Exit.DONE
    understood = [*outlook.settings.options(), *_flags(spec)]
    told = (_json if options["as_json"] else _text)(outlook, understood, found)
    return show(told, code)


def _flags(spec: JobSpec) -> list[str]:
    said = [f"--endpoint {spec.endpoint}"] * bool(spec.endpoint)
    said += [f"--ledger {spec.ledger}"] * bool(spec.ledger)
    said += [f"--encoding {spec.encoding}"] * bool(spec.encoding)
    flags = {"--new": spec.new, "--simulate": spec.simulated}
    flags |= {"--retry-failed": spec.retry_failed, "--wait": spec.wait}
    return said + [flag for flag, given in flags.items() if given]


async def _check(outlook: Outlook) -> Online:
    from batchsnap.client.connections import connected
    from batchsnap.clock import LoopClock
    from batchsnap.cloud.credentials import chain
    from batchsnap.cloud.endpoints import endpoint_url
    from batchsnap.job.preview import Online, check
    from batchsnap.settings import Settings

    found = Online()
    credentials = chain(outlook.endpoint, outlook.settings.region)
    async with connected(Settings(), LoopClock(), credentials, shared=True, say=say) as connections:
        for queue in outlook.intake.queues.values():
            account = connections.account(
                queue.profile, endpoint_url(outlook.endpoint, queue.region)
            )
            await account.credential()
            await check(account, queue, outlook.source, found)
    return found


def _json(outlook: Outlook, understood: list[str], found: Online | None) -> str:
    online = {}
    if found is not None:
        online["online"] = {
            "checked": found.checked,
            "problems": [str(problem) for problem in found.problems],
            "warnings": [str(problem) for problem in found.warnings],
            "unanswered": found.unanswered,
            "disks_gib": found.size_gib,
        }
    quotas = [
        {
            "profile": profile,
            "host": host,
            "regions": sorted(regions),
            "rows": sum(regions.values()),
        }
        for (profile, host), regions in outlook.quotas.items()
    ]
    return orjson.dumps(
        {
            "rows": outlook.intake.rows,
            "to_do": outlook.intake.to_do.total(),
            "done": outlook.intake.done,
            "rejected": outlook.intake.refused,
            "in_doubt": outlook.intake.doubts,
            "gone": len(outlook.intake.gone),
            "quotas": quotas,
            "settings": outlook.settings.to_json(),
            "options": understood,
            "rate_per_s": outlook.settings.rate_per_s,
            "eta_s": round(outlook.eta_s, 1),
            "names": outlook.intake.names,
            "ignored_columns": outlook.ignored,
            **online,
        },
        option=orjson.OPT_INDENT_2,
    ).decode()


def _text(outlook: Outlook, understood: list[str], found: Online | None) -> str:
    from batchsnap.settings import duration_text

    intake = outlook.intake
    lines = [f"{intake.rows:,} rows, {intake.to_do.total():,} snapshots to make"]
    if outlook.resumes:
        lines.append(
            f"  the ledger has {intake.done:,} done, {intake.refused:,} rejected, "
            f"{intake.doubts:,} to be settled first"
        )
    for (profile, host), regions in outlook.quotas.items():
        who = f" (profile {profile})" if profile else ""
        lines.append(f"  quota {host}{who}: {sum(regions.values()):,} rows")
        lines += [
            f"    {region:<18} {rows:>9,}" for region, rows in Counter(regions).most_common(20)
        ]
    last = datetime.now(UTC) + timedelta(seconds=outlook.eta_s)
    lines.append(
        f"  at {outlook.settings.rate_per_s:g}/s per quota: {duration_text(outlook.eta_s)}, "
        f"started now the last call is sent at {last:%H:%M:%S} UTC"
    )
    lines.append("  names: " + ", ".join(intake.names))
    lines.append("  as understood: " + (" ".join(understood) or "every option at its default"))
    if outlook.ignored:
        lines.append(f"  ignored columns: {', '.join(outlook.ignored)}")
    if intake.images:
        lines.append(f"  {intake.images}")
    if found is not None:
        lines.append(
            f"  asked the cloud about {found.checked:,} disks, {found.size_gib:,} GiB: "
            f"{len(found.problems):,} can't work, {len(found.warnings):,} warnings"
        )
    return "\n".join(lines)
