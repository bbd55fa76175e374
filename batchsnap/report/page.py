"""One self-contained HTML page: no network, no script of anybody else's, safe with hostile text.

Text from the ledger reaches the page in two ways: escaped by the template, and as JSON in which
`<` is written `\\u003c`, which the script puts into text nodes only.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from batchsnap.errors import Exit
from batchsnap.plan import duration_text
from batchsnap.report.facts import RowFact
from batchsnap.report.figures import columns
from batchsnap.report.files import write_whole
from batchsnap.report.story import Story, read_story
from batchsnap.report.summary import Summary

_TILES = (
    ("ready", "ready", "usable, 100 %", "good"),
    ("accepted", "accepted", "ordered, not yet known ready", "good"),
    ("pending", "pending", "nothing was sent", "wait"),
    ("deferred", "deferred", "to be sent again", "wait"),
    ("in_doubt", "in doubt", "to be settled", "wait"),
    ("rejected", "rejected", "will not work as it is", "bad"),
    ("gave_up", "gave up", "its time was spent", "bad"),
    ("vanished", "vanished", "was accepted, is gone", "bad"),
    ("deleted", "deleted", "by a rollback", "wait"),
    ("doubled", "doubled", "rows with a second one", "bad"),
)
_ALWAYS = frozenset({"accepted", "ready", "in_doubt", "rejected", "gave_up", "doubled"})
_COLUMNS = (
    *("disk", "region", "state", "snapshot", "name", "attempts", "request", "code", "remedy"),
    "at",
)


def write_page(ledger: Path, out: Path) -> None:
    """Write the page of a ledger's run.

    Raises:
        LedgerError: the ledger can't be read. UsageError: the file can't be written.
    """
    write_whole(out, render_page(read_story(ledger)).encode())


def render_page(story: Story) -> str:
    """The page as text."""
    from jinja2 import Environment, select_autoescape
    from markupsafe import Markup

    room = files("batchsnap.report")

    def asset(name: str) -> Markup:
        return Markup(room.joinpath(name).read_text(encoding="utf8"))  # noqa: S704 - our own file

    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True)
    template = environment.from_string(room.joinpath("page.html.j2").read_text(encoding="utf8"))
    data = orjson.dumps(_data(story)).decode().replace("<", "\\u003c")
    page: str = template.render(
        summary=story.summary,
        headline=_headline(story.summary),
        began=story.began[:19].replace("T", " "),
        took=duration_text(story.summary.elapsed_s),
        endpoint=story.header.get("endpoint", ""),
        cap=f"{story.rate_per_s:g}",
        tiles=_tiles(story.summary),
        regions=_regions(story),
        reasons=story.reasons,
        details=_details(story),
        data=Markup(data),  # noqa: S704 - JSON without a `<`
        css=asset("page.css"),
        js=asset("page.js"),
        uplot_css=asset("assets/uPlot.min.css"),
        uplot_js=asset("assets/uPlot.iife.min.js"),
    )
    return page


def _headline(summary: Summary) -> str:
    made = summary.accepted + summary.ready
    if made == summary.rows and not summary.doubled:
        ready = summary.ready == summary.rows
        return f"All {summary.rows:,} rows have their snapshot" + (", ready" if ready else "")
    return f"{made:,} of {summary.rows:,} rows have their snapshot"


def _tiles(summary: Summary) -> list[dict[str, Any]]:
    return [
        {"number": number, "word": word, "meaning": meaning, "kind": kind}
        for field, word, meaning, kind in _TILES
        if (number := getattr(summary, field)) or field in _ALWAYS
    ]


def _regions(story: Story) -> list[dict[str, Any]]:
    rows: dict[str, list[int]] = {}
    for fact in story.facts.by_key.values():
        counts = rows.setdefault(fact.region or "?", [0, 0])
        counts[0] += fact.state in {"accepted", "ready"}
        counts[1] += 1
    most = max((made for made, _ in rows.values()), default=0) or 1
    ordered = sorted(rows.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        {"name": name, "made": made, "rows": total, "share": round(made / most * 100)}
        for name, (made, total) in ordered
    ]


def _details(story: Story) -> list[tuple[str, str]]:
    finished = story.finished
    ended = f"{finished['at']}, exit {finished['exit']}" if finished else "not finished"
    if finished:
        ended += f" ({Exit(finished['exit']).name.lower().replace('_', ' ')})"
    manifest = story.manifest
    return [
        ("Finished", ended),
        ("Manifest", f"{manifest.get('path', '')}, {manifest.get('rows', 0):,} rows"),
        ("Manifest SHA-256", str(manifest.get("sha256", ""))),
        ("Ledger", str(story.path)),
        ("Ledger SHA-256", story.digest),
        ("Tool", story.header.get("tool", "")),
        *((name, str(value)) for name, value in sorted(story.settings.items()) if value),
    ]


def _data(story: Story) -> dict[str, Any]:
    rows = [_cells(fact) for fact in story.facts.by_key.values()]
    table = columns(rows, _COLUMNS)
    table["attempts"] = {"values": [fact.attempts for fact in story.facts.by_key.values()]}
    return {
        "cap": story.rate_per_s,
        "series": story.series.to_json(),
        "count": len(rows),
        "rows": table,
    }


def _cells(fact: RowFact) -> tuple[str, ...]:
    disk = fact.disk_id
    if fact.disk_backup_id:
        disk = f"{disk} {fact.disk_backup_id}".strip()
    seconds = f"{fact.at[:19]}Z" if fact.at else ""
    return (
        disk,
        fact.region,
        fact.state,
        fact.snapshot_id,
        fact.snapshot_name,
        str(fact.attempts),
        fact.request_id,
        fact.code,
        fact.remedy,
        seconds,
    )
