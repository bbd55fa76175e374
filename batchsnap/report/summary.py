"""Records -> Summary, the one object that `run --json` and `status --json` print; as JSON, and as
text with the reasons behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

from batchsnap.cloud.faults import hint, remedy
from batchsnap.errors import Exit, worst
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import HAS_SNAPSHOT, MADE, WORD
from batchsnap.owners.quotas import QuotaLine
from batchsnap.settings import counted

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


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a run. The states, `pending` to `vanished`, add up to `rows`."""

    run_id: str
    rows: int  # of the newest manifest
    pending: int
    deferred: int
    in_doubt: int
    accepted: int  # without the ready ones
    ready: int
    skipped: int  # the disk had a snapshot that was young enough
    rejected: int
    gave_up: int
    deleted: int
    vanished: int
    doubled: int  # rows with a second snapshot; counted beside their state
    requests: int  # CreateSnapshot calls sent
    throttled: int
    worst_second: int  # most starts in any one second of one quota
    elapsed_s: float  # of all process lives
    rate_per_s: float  # snapshots made a second, while any were made
    halted: tuple[dict[str, str], ...]  # scopes that the latest process stopped

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "halted": list(self.halted)}


def summary_of(fold: Fold) -> Summary:
    """The Summary of all that was folded so far."""
    tally, counts = fold.tally, fold.counts
    made = sum(counts[state] for state in MADE)
    elapsed_s = tally.elapsed_s
    return Summary(
        run_id=fold.header.get("run_id", ""),
        rows=fold.rows,
        **fold.words,
        doubled=len(tally.doubled),
        requests=tally.requests,
        throttled=tally.throttled,
        worst_second=tally.worst_second,
        elapsed_s=round(elapsed_s, 3),
        rate_per_s=round(made / tally.sending_s, 2) if tally.sending_s else 0.0,
        halted=tally.halted,
    )


def outcomes_of(fold: Fold) -> Iterator[tuple[str, str, str, str]]:
    """(key, word, code, message) of every row that has no snapshot and was given a reason."""
    for key, (code, message) in fold.tally.why.items():
        state = fold.standing(key).state
        if WORD[state] != "pending" and state not in HAS_SNAPSHOT:
            yield key, WORD[state], code, message


def exit_of(summary: Summary, *, owed: bool, stop: Exit | None, halted: bool, wait: bool) -> Exit:
    """The exit code of a run that ends with this summary."""
    codes = [stop] if stop is not None else []
    if halted:
        codes.append(Exit.HALTED)
    if summary.pending or summary.deferred or summary.in_doubt or owed:
        codes.append(Exit.UNFINISHED)
    if wait and summary.accepted:
        codes.append(Exit.UNFINISHED)
    if summary.rejected or summary.gave_up or summary.deleted or summary.vanished:
        codes.append(Exit.SOME_FAILED)
    if summary.doubled:
        codes.append(Exit.SOME_FAILED)
    return worst(codes)


class Reason(NamedTuple):
    """Why rows have no snapshot yet, or never will."""

    word: str
    code: str
    rows: int
    message: str
    hint: str
    example: str = ""  # a row's key


def summary_json(summary: Summary, quotas: Sequence[QuotaLine] = ()) -> str:
    """One object; the keys are the contract of `--json`. `quotas` where each has an owner."""
    told = summary.to_json()
    if quotas:
        told["quotas"] = [line.to_json() for line in quotas]
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()


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
