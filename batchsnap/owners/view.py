"""A run as its ledger's records show it so far, for whoever looks on, wherever the ledger lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from batchsnap.ledger.ports import Follower, Owned, Store
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.owners.parts import Parts, Takeover
from batchsnap.owners.quotas import QuotaLine
from batchsnap.settings import counted

_BREATH = 1000  # records
AGAIN = "to go on, run the same command again"


class RunView:
    """Reads a ledger without a lock, from its start and then on. Use it in one thread at a time."""

    def __init__(self, store: Store, follower: Follower | None = None) -> None:
        self.store = store
        self.parts = Parts()
        self._follower = follower or store.follow()
        self._owned: list[Owned] = []
        self._takeovers: list[Takeover] = []

    @property
    def fold(self) -> Fold:
        return self.parts.fold

    def add(self, record: Record) -> None:
        """Take the next record."""
        if (takeover := self.parts.apply(record)) is not None:
            self._takeovers.append(takeover)

    def takeovers(self) -> list[str]:
        """Who went on with whose quotas since this was last asked, a line each."""
        counts = Counter((one.owner, one.former) for one in self._takeovers)
        self._takeovers.clear()
        return [
            f"{owner} took over {counted(number, 'quota')} of {former}, which gave none back"
            for (owner, former), number in counts.items()
        ]

    def read(self) -> None:
        """All that is there now, once.

        Raises:
            LedgerError: it is not there, is damaged or can't be read.
        """
        for record in self.store.records():
            self.add(record)
        self._owned = self.store.parts()

    def catch_up(self, breathe: Callable[[], None] = lambda: None) -> None:
        """What was written since the last call, from the start on; not after `read`. `breathe` is
        called each thousand records.

        Raises:
            LedgerError: it can't be read. LedgerAway: not now.
        """
        while (more := self._follower.more()) != []:
            if more is None:  # a repair cut the file: it is read again
                self.parts = Parts()
                continue
            for number, record in enumerate(more, 1):
                self.add(record)
                if not number % _BREATH:
                    breathe()
        self._owned = self._follower.parts()

    def quotas(self, now: float) -> list[QuotaLine]:
        """How each quota stands at `now` (Unix seconds), where each has an owner."""
        return self.parts.now(self._owned, now)

    @property
    def over(self) -> str:
        """How the run ended or stopped, or that nobody is at work on it; "" while it goes on."""
        if (ended := self.fold.ended) is not None:
            if by := ended.get("superseded_by"):
                return f"closed unfinished at {ended['at']}: superseded by {by}"
            return f"finished at {ended['at']} with exit {ended['exit']}"
        if (stopped := self.fold.stopped) is not None:
            why = f" ({stopped['reason']})" if "reason" in stopped else ""
            return f"stopped at {stopped['at']}{why}, exit {stopped['exit']}: {AGAIN}"
        return f"no process is at work on it: {AGAIN}" if self.store.held() is False else ""

    def close(self) -> None:
        """Let go; a call that another thread waits in ends with LedgerAway."""
        self._follower.close()
