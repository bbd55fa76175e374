"""What a person sees of the whole run while it goes on."""

from __future__ import annotations

from batchsnap.errors import LedgerError
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import DONE, ENDED, UNCERTAIN
from batchsnap.postgres.address import Address
from batchsnap.postgres.reading import DatabaseFollower


class RunView:
    """Reads on where it stopped. Use it in one thread at a time."""

    def __init__(self, address: Address) -> None:
        self._follower = DatabaseFollower(address)
        self._fold = Fold()

    def line(self) -> str:
        """How the run stands; "" where the database does not answer."""
        try:
            while more := self._follower.more():
                for record in more:
                    self._fold.apply(record)
        except LedgerError:
            return ""
        counts = self._fold.counts
        rows = int(self._fold.manifest.get("rows", 0))
        done = sum(counts[state] for state in DONE)
        doubts = sum(counts[state] for state in UNCERTAIN)
        failed = sum(counts[state] for state in ENDED)
        return f"{done:,}/{rows:,} done, {doubts} in doubt, {failed} failed, on all machines"

    def close(self) -> None:
        self._follower.close()
