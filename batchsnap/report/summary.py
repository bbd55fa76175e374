"""Records -> Summary: the one object that `run --json` and `status --json` print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from batchsnap.errors import Exit, worst
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import HAS_SNAPSHOT, MADE, WORD


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
