"""`batchsnap report`: what happened, for whoever has to know."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsnap.cli.options import command as new_command
from batchsnap.cli.options import ledger_argument, option
from batchsnap.cli.output import fail_softly, note, say, show
from batchsnap.errors import Exit

if TYPE_CHECKING:
    from batchsnap.job.restore import RestoreLine
    from batchsnap.report.story import RowFact, Story

_ENDINGS = {".html": "html", ".htm": "html", ".json": "json", ".csv": "csv"}


@new_command("report")
@ledger_argument()
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "json", "csv", "html", "restore", "restore-json"]),
    help="html is one self-contained page; restore (CSV) is a map of disks, snapshots and copies "
    "to rebuild by, and asks the cloud. [default: as FILE ends, else text]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File, else stdout; html needs one."
)
@click.option(
    "--failed", is_flag=True, help="The failed rows, as a manifest (CSV) that `run` takes."
)
@option("--endpoint", metavar="URL", help="For a restore map. [default: the ledger's]")
def command(
    ledger: str, kind: str | None, output: Path | None, *, failed: bool, endpoint: str | None
) -> int:
    """Tell the run of LEDGER as text, JSON, CSV (a line a manifest row) or one HTML page.

    A restore map also asks the cloud what the disks are like, and which copies `copy` made.
    """
    from batchsnap.job.spec import store_at
    from batchsnap.report.files import write_whole
    from batchsnap.report.story import read_story

    kind = kind or _ENDINGS.get(output.suffix.lower() if output else "", "text")
    if kind == "html" and not failed and output is None:
        raise click.UsageError("--format html needs -o FILE")
    story = read_story(store_at(ledger))
    if failed and "copy_to" in story.header:
        raise click.UsageError(
            f"copies have no manifest: batchsnap copy {story.manifest['path']} "
            f"--to {story.header['copy_to']} --retry-failed takes them up again"
        )
    code = Exit.DONE
    if kind.startswith("restore") and not failed:
        text, code = _restore_map(story, kind, endpoint or "")
    else:
        text = _rendered(story, kind, failed=failed)
    if output is None:
        return show(text, code)
    mark = b"\xef\xbb\xbf" if kind == "csv" and not failed else b""  # tells a spreadsheet UTF-8
    write_whole(output, mark + text.encode(errors="backslashreplace"), spared=story.own_files)
    note(f"wrote {output}")
    return int(code)


def _restore_map(story: Story, kind: str, endpoint: str) -> tuple[str, Exit]:
    """The map, and whether all that it needs was told."""
    import anyio

    from batchsnap.job.restore import restore_csv, restore_json
    from batchsnap.report.story import lines_of

    asked_at = datetime.now(UTC).isoformat(timespec="seconds")
    rows = lines_of(story)
    if rows.note:
        fail_softly(rows.note)
    lines, unanswered = anyio.run(_draw, story, rows.facts, endpoint)
    for text in unanswered:
        fail_softly(f"not told: {text}")
    short = Counter(line.why for line in lines if line.why)
    for why, number in short.most_common():
        say(f"{number:,} of {len(lines):,} lines become no disk: {why}")
    text = restore_json(lines, asked_at=asked_at) if kind != "restore" else restore_csv(lines)
    return text, Exit.UNFINISHED if unanswered else Exit.DONE


async def _draw(
    story: Story, rows: list[RowFact], endpoint: str
) -> tuple[list[RestoreLine], list[str]]:
    from batchsnap.client.connections import connected
    from batchsnap.clock import LoopClock
    from batchsnap.cloud.credentials import chain
    from batchsnap.cloud.endpoints import check_endpoint
    from batchsnap.errors import UsageError
    from batchsnap.job.restore import copies_beside, draw
    from batchsnap.settings import Settings

    if "copy_to" in story.header:
        raise UsageError(
            f"this is a ledger of copies: give {story.manifest['path']}, beside which it is found"
        )
    if story.header["simulated"] and not endpoint:
        raise UsageError("the ledger is of a simulated run: its cloud is gone with the process")
    url = endpoint or story.header["endpoint"]
    check_endpoint(url)
    copies = copies_beside(story.store)
    settings = Settings().merged(story.settings)
    credentials = chain(url, settings.region)
    async with connected(settings, LoopClock(), credentials, shared=True, say=say) as connections:
        return await draw(rows, copies, connections.reach(url))


def _rendered(story: Story, kind: str, *, failed: bool) -> str:
    from batchsnap.ledger.record import unstamp
    from batchsnap.owners.quotas import quota_lines
    from batchsnap.report.files import facts_csv, failed_manifest
    from batchsnap.report.page import render_page
    from batchsnap.report.story import lines_of
    from batchsnap.report.summary import summary_text

    if kind == "html" and not failed:
        return render_page(story)
    if kind == "text" and not failed:
        owners = quota_lines(story.quotas, unstamp(story.as_of)) if story.quotas else []
        return "\n".join((summary_text(story.summary, story.reasons), *owners))
    lines = lines_of(story)
    if failed:
        if lines.note and not lines.rows:
            fail_softly(f"{lines.note}; tags, deadlines and usages of the failed are not known")
        return failed_manifest(lines.facts, lines.rows)
    if lines.note:
        fail_softly(lines.note)
    if kind == "csv":
        return facts_csv(lines.facts)
    import orjson

    told = {
        "summary": story.summary.to_json(),
        "reasons": [reason._asdict() for reason in story.reasons],
        "note": lines.note,
        "quotas": [line.to_json() for line in story.quotas],
        "rows": [{**asdict(fact), "remedy": fact.remedy} for fact in lines.facts],
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
