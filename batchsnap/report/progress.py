"""How a run is doing at this moment: its rate, when it may end, when the next row comes back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

from batchsnap.ledger.record import Record, of_later_version, unstamp
from batchsnap.lifecycle import WORD, State
from batchsnap.plan import duration_text
from batchsnap.report.summary import Summary, Summing

RECENT_S = 60.0
QUIET_S = 120.0  # a run that only waits writes nothing for a while; longer is worth a word
_DOUBTS_SHOWN = 3
_DOUBTED = frozenset(state for state, word in WORD.items() if word == WORD[State.IN_DOUBT])


class Recent:
    """The last minute's accepted snapshots, and when anything was last heard."""

    def __init__(self) -> None:
        self.heard = 0.0  # Unix seconds of the newest record
        self._accepted: deque[float] = deque()

    def add(self, record: Record) -> None:
        """Take a record."""
        if of_later_version(record):
            return
        self.heard = unstamp(record["at"])
        if record["event"] == "accepted":
            self._accepted.append(unstamp(record["at"]))
            while self._accepted[-1] - self._accepted[0] > RECENT_S:
                self._accepted.popleft()

    def rate_per_s(self, now: float) -> float:
        """Of the minute before `now` (Unix seconds), or of the time since the first."""
        made = [at for at in self._accepted if now - at <= RECENT_S]
        return len(made) / max(1.0, min(RECENT_S, now - made[0])) if made else 0.0


@dataclass(frozen=True, slots=True)
class Now:
    """What `status` says beside the Summary."""

    rate_per_s: float
    left: int  # rows that will still be sent or settled
    next_deferred_s: float | None  # until the first deferred row may be sent again
    over: bool = False  # the run has ended, finished or not
    quiet_s: float = 0.0  # since the newest record
    doubts: tuple[str, ...] = ()  # the first rows in doubt
    in_doubt: int = 0  # all of them
    flying: int = 0  # rows that only wait for their reply, while the run is heard of

    def lines(self) -> list[str]:
        """For a person; nothing where nothing is left."""
        if not self.left:
            return []
        if self.over:
            return self.waits()
        eta = duration_text(self.left / self.rate_per_s) if self.rate_per_s else "unknown"
        pace = f"  last minute {self.rate_per_s:.1f}/s, {self.left:,} left, ETA {eta}"
        return [pace, *self.waits()]

    def waits(self) -> list[str]:
        """What the run waits for, and whether it is heard of at all."""
        said = []
        if self.flying:
            said.append(f"  {self.flying:,} rows wait for their reply")
        if self.doubts:
            more = self.in_doubt - len(self.doubts)
            names = ", ".join(self.doubts) + (f" and {more:,} more" if more > 0 else "")
            said.append(f"  in doubt: {names}")
        if self.next_deferred_s is not None:
            said.append(f"  next deferred row in {duration_text(max(0.0, self.next_deferred_s))}")
        if self.quiet_s >= QUIET_S and not self.over:
            said.append(
                f"  nothing was written for {duration_text(self.quiet_s)}: if no run is going on, "
                "run the same command again"
            )
        return said


def now_of(summing: Summing, summary: Summary, recent: Recent, now: float) -> Now:
    """How the run is doing at `now` (Unix seconds)."""
    later = [
        unstamp(record["not_before"]) - now
        for record in summing.fold.latest.values()
        if record["event"] == "deferred" and "not_before" in record
    ]
    over, quiet_s = summing.fold.ended is not None, max(0.0, now - recent.heard)
    alive = not over and quiet_s < QUIET_S
    # who was sent a moment ago is no doubt yet; of a dead run it is
    flying = summing.fold.counts[State.SENT] if alive else 0
    known = {State.IN_DOUBT, State.DELETING} if alive else _DOUBTED
    doubts = (key for key in summing.fold.latest if summing.fold.standing(key).state in known)
    return Now(
        rate_per_s=recent.rate_per_s(now),
        left=summary.pending + summary.deferred + summary.in_doubt,
        next_deferred_s=min(later, default=None),
        over=over,
        quiet_s=quiet_s,
        doubts=tuple(islice(doubts, _DOUBTS_SHOWN)),
        in_doubt=summary.in_doubt - flying,
        flying=flying,
    )
