"""`batchsnap plan`: everything that can be said about a run before anything is sent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click
import orjson

from batchsnap.cli.options import cloud_options, option
from batchsnap.cli.talk import fail_softly

if TYPE_CHECKING:
    from batchsnap.engine.outlook import Outlook


@click.command("plan")
@click.argument("manifest", metavar="MANIFEST")
@option("--ledger", metavar="PATH", help="Say what a rerun with this ledger would still do.")
@option("--region", metavar="R", help="For rows without one.")
@option("--name", metavar="TEMPLATE", help="Template of snapshot names.")
@option("--rate", "rate_per_s", type=float, help="Calls a second per quota. [default: 20]")
@option("--api-limit", "api_limit_per_s", type=int, help="What support raised the cap to.")
@option("--retry-failed", is_flag=True, help="Count rejected rows as to do.")
@option("--encoding", metavar="NAME", help="Of the manifest, where it can't be told.")
@cloud_options()
@click.option("--json", "as_json", is_flag=True, help="Print the plan as one JSON object.")
def command(manifest: str, *, as_json: bool, **options: Any) -> None:
    """Validate MANIFEST and say what a run would do. Sends nothing, writes nothing."""
    from batchsnap.cli.run import order_of
    from batchsnap.engine.outlook import look_ahead

    outlook = look_ahead(order_of(manifest, options))
    for text in outlook.warnings:
        fail_softly(text)
    click.echo(_json(outlook) if as_json else _text(outlook))


def _json(outlook: Outlook) -> str:
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
            "rate_per_s": outlook.rate_per_s,
            "eta_s": round(outlook.eta_s, 1),
            "names": outlook.intake.names,
            "ignored_columns": outlook.ignored,
        },
        option=orjson.OPT_INDENT_2,
    ).decode()


def _text(outlook: Outlook) -> str:
    from batchsnap.plan import duration_text

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
    lines.append(f"  at {outlook.rate_per_s:g}/s per quota: {duration_text(outlook.eta_s)}")
    lines.append("  names: " + ", ".join(intake.names))
    return "\n".join(lines)
