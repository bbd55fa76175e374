"""How a run is doing at one moment, as its fold tells: for the plain line, the view and status."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from batchsnap.ledger.record import unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import WORD, State
from batchsnap.plan import counted, duration_text
from batchsnap.report.why import why

QUIET_S = 120.0  # a run that only waits writes nothing for a while; longer is worth a word
_DOUBTS_SHOWN = 3
_DOUBTED = frozenset(state for state, word in WORD.items() if word == WORD[State.IN_DOUBT])


@dataclass(frozen=True, slots=True)
class Progress:
    """Rows of the newest manifest by how they stand, and the pace. It costs little: no row is
    looked at."""

    rows: int
    done: int
    pending: int
    deferred: int
    in_doubt: int  # without those that only wait for their reply
    failed: int
    owed: int  # that wait for their last question
    flying: int  # rows that only wait for their reply, while the run is heard of
    rate_per_s: float  # of the last minute

    @property
    def left(self) -> int:
        """Rows that will still be sent or settled."""
        return self.pending + self.deferred + self.in_doubt + self.flying

    @property
    def eta_s(self) -> float | None:
        """Until the last row is sent; None where there is no pace to tell by."""
        return self.left / self.rate_per_s if self.rate_per_s > 0 else None

    @property
    def eta(self) -> str:
        """For a person."""
        if not self.left:
            return "asking once more" if self.owed else "0 s"
        return "?" if self.eta_s is None else duration_text(self.eta_s)


def progress_of(fold: Fold, now: float, *, alive: bool | None = None) -> Progress:
    """How a run is doing at `now` (Unix seconds). `alive`: whether a process is known to be at
    work; None where only the ledger tells."""
    words = fold.words
    flying = fold.counts[State.SENT] if _heard_of(fold, now, alive) else 0
    return Progress(
        rows=fold.rows,
        done=words["accepted"] + words["ready"] + words["skipped"],
        pending=words["pending"],
        deferred=words["deferred"],
        in_doubt=words["in_doubt"] - flying,
        failed=words["rejected"] + words["gave_up"] + words["vanished"] + words["deleted"],
        owed=fold.owed,
        flying=flying,
        rate_per_s=fold.tally.rate_per_s(now),
    )


def status_lines(fold: Fold, now: float, *, over: bool = False) -> list[str]:
    """What `status` says beside the Summary; nothing where nothing is left. `over`: nobody is at
    work on it."""
    progress = progress_of(fold, now)
    if not progress.left:
        return []
    if over or fold.ended is not None:
        return waits(fold, now, over=True)
    eta = "unknown" if progress.eta_s is None else duration_text(progress.eta_s)
    pace = f"  last minute {progress.rate_per_s:.1f}/s, {progress.left:,} left, ETA {eta}"
    return [pace, *waits(fold, now)]


def waits(fold: Fold, now: float, *, over: bool = False) -> list[str]:
    """What the run waits for, and whether it is heard of at all. Looks at all rows that are not at
    rest."""
    progress = progress_of(fold, now, alive=False if over else None)
    said = [f"  {reason}" for reason in [why(fold, now)] if reason and not over]
    if progress.flying:
        wait = "waits for its reply" if progress.flying == 1 else "wait for their reply"
        said.append(f"  {counted(progress.flying, 'row')} {wait}")
    if doubts := _doubts(fold, now, over=over):
        more = progress.in_doubt - len(doubts)
        said.append(
            f"  in doubt: {', '.join(doubts)}" + (f" and {more:,} more" if more > 0 else "")
        )
    later = [
        unstamp(record["not_before"]) - now
        for record in fold.latest.values()
        if record["event"] == "deferred" and "not_before" in record
    ]
    if later:
        said.append(f"  next deferred row in {duration_text(max(0.0, min(later)))}")
    quiet_s = now - fold.tally.heard
    if quiet_s >= QUIET_S and fold.ended is None and not over:
        said.append(
            f"  nothing was written for {duration_text(quiet_s)}: if no run is going on, run the "
            "same command again"
        )
    return said


def _heard_of(fold: Fold, now: float, alive: bool | None = None) -> bool:
    if alive is not None:
        return alive
    return fold.ended is None and now - fold.tally.heard < QUIET_S


def _doubts(fold: Fold, now: float, *, over: bool) -> list[str]:
    """The first rows in doubt. Who was sent a moment ago is no doubt yet; of a dead run it is."""
    alive = not over and _heard_of(fold, now)
    known = {State.IN_DOUBT, State.DELETING} if alive else _DOUBTED
    doubts = (key for key in fold.latest if fold.standing(key).state in known)
    return list(islice(doubts, _DOUBTS_SHOWN))
