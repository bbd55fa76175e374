"""`batchsnap report`: what happened, for whoever has to know."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsnap.cli.talk import fail_softly, say, show
from batchsnap.errors import Exit

if TYPE_CHECKING:
    from batchsnap.report.story import Story


@click.command("report")
@click.argument("ledger", type=click.Path(path_type=Path), metavar="LEDGER")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "json", "csv", "html"]),
    default="text",
    show_default=True,
    help="html is one self-contained page.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File, else stdout; html needs one."
)
@click.option(
    "--failed", is_flag=True, help="The failed rows, as a manifest (CSV) that `run` takes."
)
def command(ledger: Path, kind: str, output: Path | None, *, failed: bool) -> int:
    """Tell the run of LEDGER as text, JSON, CSV (a line a manifest row) or one HTML page."""
    from batchsnap.report.files import write_whole
    from batchsnap.report.story import read_story

    if kind == "html" and not failed and output is None:
        raise click.UsageError("--format html needs -o FILE")
    story = read_story(ledger)
    text = _rendered(story, kind, failed=failed)
    if output is None:
        return show(text)
    mark = b"\xef\xbb\xbf" if kind == "csv" and not failed else b""  # tells a spreadsheet UTF-8
    write_whole(output, mark + text.encode(errors="backslashreplace"), spared=story.own_files)
    say(f"wrote {output}")
    return int(Exit.DONE)


def _rendered(story: Story, kind: str, *, failed: bool) -> str:
    from batchsnap.report.files import facts_csv, failed_manifest
    from batchsnap.report.page import render_page
    from batchsnap.report.story import lines_of
    from batchsnap.report.text import summary_text

    if kind == "html" and not failed:
        return render_page(story)
    if kind == "text" and not failed:
        return summary_text(story.summary, story.reasons)
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
        "rows": [{**asdict(fact), "remedy": fact.remedy} for fact in lines.facts],
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
