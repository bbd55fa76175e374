"""A Summary as text and JSON, and the reasons behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import orjson

from batchsnap.cloud.faults import hint, remedy
from batchsnap.plan import counted
from batchsnap.report.summary import Summary

_LINES = (
    ("accepted", "accepted", "the cloud took the order"),
    ("ready", "ready", "usable, 100 %"),
    ("skipped", "skipped", "the disk had a snapshot that is young enough"),
    ("pending", "pending", "not executed, waiting for its turn"),
    ("deferred", "deferred", "not executed, to be sent again"),
    ("in_doubt", "in doubt", "may have been executed, to be settled"),
    ("rejected", "rejected", "will never work as it stands"),
    ("gave_up", "gave up", "--retry-for was spent"),
    ("vanished", "vanished", "was accepted and is gone"),
    ("deleted", "deleted", "by a rollback"),
    ("doubled", "doubled", "rows with a second snapshot"),
)
_WHERE = {"account": "the account", "run": "the run"}
_ALWAYS = frozenset({"accepted"})


class Reason(NamedTuple):
    """Why rows have no snapshot yet, or never will."""

    word: str
    code: str
    rows: int
    message: str
    hint: str
    example: str = ""  # a row's key


def summary_json(summary: Summary) -> str:
    """One object; the keys are the contract of `--json`."""
    return orjson.dumps(summary.to_json(), option=orjson.OPT_INDENT_2).decode()


def summary_text(summary: Summary, reasons: Iterable[Reason] = ()) -> str:
    """A screenful for a person."""
    lines = [f"run {summary.run_id}: {counted(summary.rows, 'row')}"]
    for field, word, meaning in _LINES:
        number = getattr(summary, field)
        if number or field in _ALWAYS:
            lines.append(f"  {number:>9,}  {word:<9} {meaning}")
    lines.append(
        f"  {counted(summary.requests, 'request')}, {summary.throttled:,} throttled, at most "
        f"{summary.worst_second} in any second; {summary.elapsed_s:,.1f} s, "
        f"{summary.rate_per_s:g}/s"
    )
    for halt in summary.halted:
        where = _WHERE.get(halt["scope"], "") or f"region {halt['region']}"
        if halt["profile"]:
            where += f" (profile {halt['profile']})"
        lines.append(f"  halted {where}: {halt['code']}: {halt['message']}")
        lines.append(f"    {hint(halt['code'])}")
    for reason in reasons:
        word = reason.word.replace("_", " ")
        lines.append(f"  {reason.rows:,} {word}: {reason.code}: {reason.message}")
        example = f" (first: {reason.example})" if reason.example else ""
        lines.append(f"    {reason.hint}{example}")
    return "\n".join(lines)


def reasons_of(outcomes: Iterable[tuple[str, str, str, str]], *, most: int = 10) -> list[Reason]:
    """The commonest reasons of (key, word, code, message), with the first row's message and key,
    and the remedy."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for key, word, code, message in outcomes:
        counts[word, code] += 1
        first.setdefault((word, code), (message, key))
    return [
        Reason(word, code, rows, first[word, code][0], remedy(word, code), first[word, code][1])
        for (word, code), rows in counts.most_common(most)
    ]
