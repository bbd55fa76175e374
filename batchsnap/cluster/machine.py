"""How much this machine may own, and what it owns at the moment: for its view and its metrics."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from batchsnap.client.ports import Say
from batchsnap.cluster.tenure import Tenure
from batchsnap.ledger.ports import name_of
from batchsnap.ledger.record import Record, stamp
from batchsnap.lifecycle import WORD, State
from batchsnap.owners.quotas import QuotaLine
from batchsnap.report.progress import Glance, Progress, progress_of, total, why

MAX_QUOTAS = 100


class Machine:
    """The quotas of all ledgers that this process works on. Ask it from any thread."""

    def __init__(self, most: int = MAX_QUOTAS, note: Say = lambda text: None) -> None:
        """`most` quotas at once; 0: it looks on. `note`: is given what is good to know."""
        self.most = most
        self.note = note
        self.taps: list[Callable[[Record], None]] = []  # each sees every record that is written
        self._owned: dict[Tenure, float] = {}  # since when, Unix seconds
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def begin(self, tenure: Tenure, now: float) -> None:
        self._owned[tenure] = now

    def end(self, tenure: Tenure) -> None:
        self._owned.pop(tenure, None)

    @property
    def quotas(self) -> int:
        return len(self._owned)

    @property
    def room(self) -> int:
        return self.most - self.quotas

    @property
    def words(self) -> Counter[str]:
        """Rows of what is owned by the word for where they stand."""
        words = Counter(dict.fromkeys(WORD.values(), 0))
        for tenure in list(self._owned):
            words.update(tenure.words)
        return words

    @property
    def flying(self) -> int:
        """Calls that are out or about to leave."""
        return sum(tenure.share.fold.counts[State.SENT] for tenure in list(self._owned))

    def look(self, now: float) -> Glance:
        """How they are doing at `now` (Unix seconds)."""
        owned = list(self._owned.items())
        reasons = [why(tenure.share.fold, now, whole=False) for tenure, _ in owned]
        idle = "" if owned else "waits: there is no quota that this machine could own now"
        return Glance(
            total(_progress(tenure, now) for tenure, _ in owned),
            next(filter(None, reasons), idle),
            tuple(self._line(tenure, since, now) for tenure, since in owned),
        )

    async def sight(self, now: float) -> Glance:
        """The same for who waits for it."""
        return self.look(now)

    def _line(self, tenure: Tenure, since: float, now: float) -> QuotaLine:
        quota, seen = tenure.share.quota, _progress(tenure, now)
        return QuotaLine(
            name=name_of(quota.profile_names, quota.source),
            source=quota.source,
            host=quota.host,
            profiles=quota.profile_names,
            owner=self._name,
            former="",
            since=stamp(since),
            rows=quota.rows,
            failed=seen.failed,
            left=seen.left,
            rate_per_s=seen.rate_per_s,
            ended="",
            why="",
        )


def _progress(tenure: Tenure, now: float) -> Progress:
    """Of the quota's rows; its fold knows how many the whole run has, and not how many are its."""
    told = progress_of(tenure.share.fold, now, alive=True)
    told = replace(told, pending=tenure.words[WORD[State.PENDING]])
    return replace(told, rows=told.done + told.failed + told.left)
