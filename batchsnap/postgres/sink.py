"""The open part of a ledger that one quota is: what the engine appends to.

Its fold and its records are of this quota's rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import orjson

from batchsnap.errors import LedgerUnwritable
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import FAILED_WORDS
from batchsnap.postgres.hold import Batch, Hold
from batchsnap.postgres.session import Session


class QuotaSink:
    """A RecordSink over the session. `failure` is set when the quota is lost."""

    def __init__(
        self,
        session: Session,
        hold: Hold,
        fold: Fold,
        *,
        label: str,
        lost: str = "",
        records: Callable[[], Iterator[Record]],
    ) -> None:
        self.label = label
        self.fold = fold
        self.lost = lost
        self.failure: LedgerUnwritable | None = None
        self.taps: list[Callable[[Record], None]] = []
        self._session = session
        self._hold = hold
        self._records = records
        self._last: Batch | None = None
        self._closed = anyio.Event()
        hold.on_end = self._ended
        if hold.lease.ended:
            self._ended(hold.lease.ended)

    @property
    def was_cut(self) -> bool:
        return False

    @property
    def gap(self) -> Gap:
        return Gap.LOST if self.lost else Gap.NONE

    def append(self, record: Record) -> Batch:
        """As `RecordSink.append`; raises LedgerUnwritable, IllegalMove."""
        if self.failure is not None:
            raise self.failure
        self.fold.apply(record)
        line = orjson.dumps(record).decode()
        failed = record["event"] in FAILED_WORDS and record.get("key") not in self.fold.gone
        self._last = group = self._session.append(self._hold, line, failed=failed)
        for tap in self.taps:
            tap(record)
        return group

    async def durable(self, group: Batch) -> None:
        """Wait until the database has it, however long it is away.

        Raises:
            LedgerUnwritable: the quota was lost.
        """
        await group.done.wait()
        if self.failure is not None:
            raise self.failure

    def resume(self, record: Record) -> None:
        """Append it: a `claimed` has told all that a file's would."""
        self.append(record)

    def records(self) -> Iterator[Record]:
        """Those of this quota."""
        return self._records()

    async def commit(self) -> None:
        """Wait for `close`, and until all is durable: the session commits."""
        await self._closed.wait()
        self._closed = anyio.Event()
        if self._last is not None:
            await self._last.done.wait()

    def close(self) -> None:
        self._closed.set()

    def release(self) -> None:
        """Its tenure gives it back."""

    def _ended(self, why: str) -> None:
        self.failure = self.failure or LedgerUnwritable(f"{self._hold.what}: {why}")
