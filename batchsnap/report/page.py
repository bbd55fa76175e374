"""One self-contained HTML page: no network, no script of anybody else's, safe with hostile text.

Text from the ledger reaches the page in two ways: escaped by the template, and as JSON in which
`<` is written `\\u003c`, which the script puts into text nodes only. Should that ever fail, the
policy lets nothing run but the page's own scripts, which it names by their hashes.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import Any

import orjson

from batchsnap.cloud.faults import hint
from batchsnap.errors import Exit
from batchsnap.ledger.ports import Store
from batchsnap.ledger.record import unstamp
from batchsnap.lifecycle import THERE, State
from batchsnap.owners.quotas import QuotaLine, head, owner_text, since_text, worst_first
from batchsnap.report.figures import Marks, columns
from batchsnap.report.files import write_whole
from batchsnap.report.story import Lines, RowFact, Story, lines_of, read_story
from batchsnap.report.summary import Summary
from batchsnap.settings import duration_text

_TILES = (
    ("ready", "ready", "usable, 100 %", "good"),
    ("accepted", "accepted", "ordered, not yet known ready", "good"),
    ("skipped", "skipped", "had a young snapshot", "good"),
    ("pending", "pending", "nothing was executed", "wait"),
    ("deferred", "deferred", "to be sent again", "wait"),
    ("in_doubt", "in doubt", "to be settled", "wait"),
    ("rejected", "rejected", "will not work as it is", "bad"),
    ("gave_up", "gave up", "its time was spent", "bad"),
    ("vanished", "vanished", "was accepted, is gone", "bad"),
    ("deleted", "deleted", "by a rollback", "wait"),
    ("doubled", "doubled", "rows with a second one", "bad"),
)
_ALWAYS = frozenset({"accepted", "ready", "in_doubt", "rejected", "gave_up", "doubled"})
_KINDS = {"done": "", "halted": "bad", "gave_up": "bad"}
_QUOTAS_SHOWN = 12
_COLUMNS = (
    *("disk", "region", "profile", "state", "source", "snapshot", "code", "remedy", "request"),
    *("name", "at"),
)


def write_page(ledger: Store, out: Path) -> None:
    """Write the page of a ledger's run.

    Raises:
        LedgerError: the ledger can't be read. UsageError: the file can't be written.
    """
    story = read_story(ledger)
    page = render_page(story).encode(errors="backslashreplace")
    write_whole(out, page, spared=story.own_files)


def render_page(story: Story) -> str:
    """The page as text."""
    from jinja2 import Environment, select_autoescape
    from markupsafe import Markup

    room = files("batchsnap.report")

    def asset(name: str) -> Markup:
        return Markup(room.joinpath(name).read_text(encoding="utf8"))  # noqa: S704 - our own file

    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True)
    template = environment.from_string(room.joinpath("page.html.j2").read_text(encoding="utf8"))
    lines = lines_of(story)
    data = orjson.dumps(_data(story, lines)).decode().replace("<", "\\u003c")
    styles = [asset("assets/uPlot.min.css"), asset("page.css")]
    scripts = [asset("assets/uPlot.iife.min.js"), asset("page.js")]
    cap = ceil(story.series.cap)
    page: str = template.render(
        summary=story.summary,
        headline=headline(story.summary),
        lede=lede(story.summary),
        note=lines.note,
        began=_clock(story.began),
        as_of="" if story.finished else _clock(story.as_of),
        marks=_marks(story.marks),
        took=duration_text(story.summary.elapsed_s),
        endpoint=story.header.get("endpoint", ""),
        simulated=story.header.get("simulated", False),
        cap=f"{story.series.cap:g}",
        held=story.summary.worst_second <= cap,
        tiles=_tiles(story.summary),
        regions=_regions(lines.facts),
        halts=[{**halt, "hint": hint(halt["code"])} for halt in story.summary.halted],
        reasons=story.reasons,
        quotas=_quotas(story.quotas, story.as_of),
        details=_details(story),
        data=Markup(data),  # noqa: S704 - JSON without a `<`
        styles=styles,
        scripts=scripts,
        policy=Markup(_policy(styles, scripts)),  # noqa: S704 - our own words and hashes
    )
    return page


def _policy(styles: list[Any], scripts: list[Any]) -> str:
    """What the browser may do for this page: draw it, and nothing else."""

    def hashes(texts: list[Any]) -> str:
        digests = (b64encode(sha256(text.encode()).digest()).decode() for text in texts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes(styles)}; "
        "base-uri 'none'; form-action 'none'"
    )


def headline(summary: Summary) -> str:
    """The outcome in one line; what is accepted is ordered, not ready."""
    made, rows = summary.accepted + summary.ready, summary.rows
    halted = "Halted: " if summary.halted else ""
    if not made:
        return f"{halted}{'none' if halted else 'None'} of {rows:,} snapshots is made"
    if summary.ready == rows:
        return f"{halted}{'all' if halted else 'All'} {rows:,} snapshots are ready"
    every = "all" if halted else "All"
    counted = f"{every} {rows:,}" if made == rows else f"{made:,} of {rows:,}"
    ready = f"{summary.ready:,} of them known ready" if summary.ready else "none known ready yet"
    return f"{halted}{counted} snapshots are ordered, {ready}"


def lede(summary: Summary) -> list[str]:
    """What a reader should take from it, a sentence each."""
    failed = summary.rejected + summary.gave_up + summary.vanished
    unfinished = summary.pending + summary.deferred + summary.in_doubt
    mend = "mend what halted the run, then " if summary.halted else ""
    told = [
        (summary.accepted, "accepted: the cloud took the order, ready comes later."),
        (unfinished, f"unfinished: {mend}run the same command again."),
        (failed, "have none and will get none as they stand: see the reasons."),
        (summary.skipped, "skipped: their disks had a snapshot that is young enough."),
        (summary.deleted, "deleted again by a rollback."),
        (summary.doubled, "made twice: one of the two is to be deleted."),
    ]
    return [f"{number:,} {words}" for number, words in told if number]


def _clock(at: str) -> str:
    return at[:19].replace("T", " ")


def _marks(marks: Marks) -> list[dict[str, str]]:
    told = [
        {"at": f"{datetime.fromtimestamp(mark.at, UTC):%H:%M:%S}", "text": mark.text}
        for mark in marks.found
    ]
    return told + ([{"at": "", "text": f"and {marks.more:,} more"}] if marks.more else [])


def _tiles(summary: Summary) -> list[dict[str, Any]]:
    return [
        {"number": number, "word": word, "meaning": meaning, "kind": kind}
        for field, word, meaning, kind in _TILES
        if (number := getattr(summary, field)) or field in _ALWAYS
    ]


def _regions(facts: list[RowFact]) -> list[dict[str, Any]]:
    rows: dict[str, list[int]] = {}
    for fact in facts:
        counts = rows.setdefault(fact.region or "?", [0, 0, 0])
        counts[0] += fact.state in THERE
        counts[1] += fact.state == State.READY
        counts[2] += 1
    most = max((total for _, _, total in rows.values()), default=0) or 1
    ordered = sorted(rows.items(), key=lambda item: (-item[1][2], item[0]))
    return [
        {
            **{"name": name, "made": made, "ready": ready, "rows": total},
            **{"made_share": made / most * 100, "rows_share": total / most * 100},
        }
        for name, (made, ready, total) in ordered
    ]


def _quotas(lines: list[QuotaLine], as_of: str) -> dict[str, Any]:
    """The table of owners, those first that need a look; the rest of many is folded."""
    if not lines:
        return {}
    rows = [
        {
            "line": line,
            "rate": f"{line.rate_per_s:.1f}" if line.owner else "",
            "owner": owner_text(line),
            "since": since_text(line.since, unstamp(as_of)) if line.since else "",
            "kind": _KINDS.get(line.ended, "" if line.owner else "wait"),
        }
        for line in sorted(lines, key=worst_first)
    ]
    tables = [rows[:_QUOTAS_SHOWN], rows[_QUOTAS_SHOWN:]]
    hosts = len({line.host for line in lines}) > 1
    return {"head": head(lines), "hosts": hosts, "tables": list(filter(None, tables))}


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
        *([("Copies in", story.header["copy_to"])] if "copy_to" in story.header else []),
        ("Ledger", f"{story.store.label}, {story.records:,} records"),
        ("SHA-256 of these records", story.digest),
        ("Tool", story.header.get("tool", "")),
        *((name, str(value)) for name, value in sorted(story.settings.items()) if value),
    ]


def _data(story: Story, lines: Lines) -> dict[str, Any]:
    table = columns([_cells(fact) for fact in lines.facts], _COLUMNS)
    table["attempts"] = {"values": [fact.attempts for fact in lines.facts]}
    return {
        "series": story.series.to_json(),
        "marks": [{"t": m.at, "word": m.word, "kind": m.kind} for m in story.marks.found],
        "count": len(lines.facts),
        "rows": table,
    }


def _cells(fact: RowFact) -> tuple[str, ...]:
    disk = fact.disk_id
    if fact.disk_backup_id:
        disk = f"{disk} {fact.disk_backup_id}".strip()
    return (
        *(disk, fact.region, fact.profile, fact.state, fact.source_id, fact.snapshot_id),
        *(fact.code, fact.remedy),
        *(fact.request_id, fact.snapshot_name, f"{fact.at[:19]}Z" if fact.at else ""),
    )
