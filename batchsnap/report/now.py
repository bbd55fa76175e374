"""How a run is doing at this moment: its rate, when it may end, when the next row comes back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from batchsnap.ledger.record import Record, unstamp
from batchsnap.plan import duration_text
from batchsnap.report.summary import Summary, Summing

RECENT_S = 60.0


class Recent:
    """The last minute's accepted snapshots."""

    def __init__(self) -> None:
        self._accepted: deque[float] = deque()

    def add(self, record: Record) -> None:
        """Take a record."""
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

    def lines(self) -> list[str]:
        """For a person; nothing where nothing is left."""
        if not self.left:
            return []
        eta = duration_text(self.left / self.rate_per_s) if self.rate_per_s else "unknown"
        said = [f"  last minute {self.rate_per_s:.1f}/s, {self.left:,} left, ETA {eta}"]
        if self.next_deferred_s is not None:
            said.append(f"  next deferred row in {duration_text(max(0.0, self.next_deferred_s))}")
        return said


def now_of(summing: Summing, summary: Summary, recent: Recent, now: float) -> Now:
    """How the run is doing at `now` (Unix seconds)."""
    later = [
        unstamp(record["not_before"]) - now
        for record in summing.fold.latest.values()
        if record["event"] == "deferred" and "not_before" in record
    ]
    left = summary.pending + summary.deferred + summary.in_doubt
    return Now(recent.rate_per_s(now), left, min(later, default=None))
