"""What may not start: for the operator's limits (a canary first, so many being made at once, so
many failures at most), and for want of a slot."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import anyio

from batchsnap.client.stopping import Stop
from batchsnap.errors import Exit
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import FAILED_WORDS, State
from batchsnap.settings import Settings
from batchsnap.settling.row import was_suspect

_BEING_MADE = (State.SENT, State.IN_DOUBT, State.ACCEPTED)


AHEAD_MAX = 1000  # rows kept ready, however high the rate


class Slots:
    """Room for calls of one quota: how many may be out, how many rows on their way to a token.

    Rows whose intent is written and whose token is not yet there are what a kill leaves in doubt
    for nothing, so only half a second of them is staged; and they are staged half of that at a
    time, for intents that are written together share a sync.
    """

    def __init__(self, settings: Settings) -> None:
        self._out_max = settings.max_in_flight
        self._staged_max = max(1, math.ceil(min(settings.rate_per_s, AHEAD_MAX) / 2))
        self._filling = True

    def full(self, out: int) -> bool:
        """Whether no row may be started while so many hold a slot."""
        return out >= self._out_max or not self._filling

    def take(self, staged: int) -> None:
        """A row was started, and so many are staged now."""
        self._filling = self._filling and staged < self._staged_max

    def started(self, staged: int) -> None:
        """A row has its token, or will never need one, and so many are staged now."""
        self._filling = self._filling or staged <= self._staged_max // 2


class Limited(Protocol):
    """The owner of a quota's rows, as the limits see it."""

    @property
    def staged(self) -> int:
        """Rows on their way to an intent or a token, which the fold may not know yet."""
        ...

    @property
    def at_work(self) -> bool:
        """Whether something is under way there that may let a brake go."""
        ...


class Limits:
    """Looks at the fold before each start and after each end."""

    def __init__(
        self, settings: Settings, fold: Fold, rows: int, stop: Stop, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._fold = fold
        self._stop = stop
        self._say = say
        self._errors_max = errors_max(settings.max_errors, rows)
        self._failed = 0  # in this process
        self._suspects = 0  # in this process; a canary among them is not well
        self._limited: list[Limited] = []
        self._feeding = 0  # those of them that have rows to start
        self._let_go = anyio.Event()
        self._canary = min(settings.canary, rows)
        if self._canary and fold.counts[State.READY] >= self._canary:
            self._canary = 0

    @property
    def watching(self) -> bool:
        """Whether it must be known when snapshots are ready."""
        return bool(self._canary or self._settings.max_creating)

    @property
    def counting(self) -> bool:
        """Whether it must be told of records."""
        return self._errors_max is not None or self._canary > 0

    def join(self, limited: Limited) -> None:
        """One more begins."""
        self._limited.append(limited)
        self._feeding += 1

    async def fed(self) -> None:
        """One has started all its rows; returns once no other needs to know when its snapshots
        are ready."""
        self._feeding -= 1
        if not self._feeding:
            self._let_go.set()
        if self.watching:
            with self._stop.ends():
                await self._let_go.wait()

    def heard(self, record: Record) -> None:
        """A record was taken. Rows that are gone from the manifest are nobody's failure."""
        if record.get("key") in self._fold.gone:
            return
        self._failed += record["event"] in FAILED_WORDS
        self._suspects += was_suspect(record)

    def may_start(self) -> bool:
        """Whether one more row may be started now."""
        most = self._settings.max_creating
        if not self._canary and not most:
            return True
        counts = self._fold.counts
        being_made = sum(one.staged for one in self._limited) + sum(
            counts[state] for state in _BEING_MADE
        )
        if most and being_made >= most:
            return False
        return not self._canary or being_made + counts[State.READY] < self._canary

    def despair(self) -> str:
        """Stop the run where a brake holds and nothing is under way that could let it go."""
        if self._stop.stopping or self.may_start() or any(one.at_work for one in self._limited):
            return ""
        brake = "--canary" if self._canary else "--max-creating"
        return self._halt(f"{brake} waits for snapshots of which the cloud tells nothing")

    def review(self) -> str:
        """Stop the run where a brake says so, and say why; let it go on where the canary is
        well."""
        if self._stop.stopping or not self.counting:
            return ""
        counts = self._fold.counts
        failed = self._failed
        if self._errors_max is not None and failed >= self._errors_max:
            return self._halt(f"{failed} rows failed, --max-errors {self._settings.max_errors}")
        if not self._canary:
            return ""
        if failed or self._suspects:
            failed = max(failed, self._suspects)
            return self._halt(f"the canary failed: {failed} of its {self._canary} rows")
        if counts[State.READY] >= self._canary:
            self._say(f"canary: {self._canary} snapshots are ready, going on with the rest")
            self._canary = 0
            if not self.watching:
                self._let_go.set()
        return ""

    def _halt(self, why: str) -> str:
        self._say(f"halting: {why}")
        self._stop.request(Exit.HALTED, why)
        return why


def errors_max(text: str, rows: int) -> int | None:
    if not text:
        return None
    if text.endswith("%"):
        return max(1, round(float(text[:-1]) * rows / 100))
    return max(1, int(text))
