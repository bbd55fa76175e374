"""A run as its ledger's records show it so far, for whoever looks on, wherever the ledger lies."""

from __future__ import annotations

from batchsnap.ledger.ports import Owned, Store
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.owners.parts import Parts
from batchsnap.owners.quotas import QuotaLine

AGAIN = "to go on, run the same command again"


class RunView:
    """Reads a ledger without a lock, from its start and then on. Use it in one thread at a time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.parts = Parts()
        self._follower = store.follow()
        self._owned: list[Owned] = []

    @property
    def fold(self) -> Fold:
        return self.parts.fold

    def add(self, record: Record) -> None:
        """Take the next record."""
        self.parts.apply(record)

    def read(self) -> None:
        """All that is there now, once.

        Raises:
            LedgerError: it is not there, is damaged or can't be read.
        """
        for record in self.store.records():
            self.add(record)
        self._owned = self.store.parts()

    def catch_up(self) -> None:
        """What was written since the last call, from the start on; not after `read`.

        Raises:
            LedgerError: it can't be read. LedgerAway: not now.
        """
        while (more := self._follower.more()) != []:
            if more is None:  # a repair cut the file: it is read again
                self.parts = Parts()
                continue
            for record in more:
                self.add(record)
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
        self._follower.close()
