"""The open part of a ledger that one quota is: what the engine appends to.

Its fold and its records are of this quota's rows alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import anyio
import orjson

from batchsnap.errors import LedgerUnwritable
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.ports import RightToSend
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import FAILED_WORDS
from batchsnap.postgres.hold import Batch, Hold
from batchsnap.postgres.session import Session


class SessionSink(ABC):
    """What every RecordSink over a session does. `failure` is set when a quota is lost."""

    def __init__(self, label: str, fold: Fold, *, lost: str = "") -> None:
        self.label = label
        self.fold = fold
        self.lost = lost  # why durable records may be missing
        self.failure: LedgerUnwritable | None = None
        self.right: RightToSend | None = None  # a tenure's gates have their lease
        self.taps: list[Callable[[Record], None]] = []
        self._last: Batch | None = None
        self._closed = anyio.Event()

    @abstractmethod
    def _place(self, record: Record) -> tuple[Session, Hold]:
        """Where a record belongs."""

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
        session, hold = self._place(record)
        self.fold.apply(record)
        line = orjson.dumps(record).decode()
        # Rows that are gone from the manifest are nobody's failure.
        failed = record["event"] in FAILED_WORDS and record.get("key") not in self.fold.gone
        self._last = group = session.append(hold, line, failed=failed)
        for tap in self.taps:
            tap(record)
        return group

    async def durable(self, group: Batch) -> None:
        """Wait until the database has it, however long it is away.

        Raises:
            LedgerUnwritable: a quota was lost.
        """
        await group.written()
        if self.failure is not None:
            raise self.failure

    def resume(self, record: Record) -> None:
        """Append it: a `claimed` has told all that a file's would."""
        self.append(record)

    def close(self) -> None:
        self._closed.set()

    def _ended(self, why: str) -> None:
        self.failure = self.failure or LedgerUnwritable(f"{self._what}: {why}")

    @property
    def _what(self) -> str:
        """For people."""
        return self.label


class QuotaSink(SessionSink):
    """A RecordSink of one quota, which its tenure claimed and gives back."""

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
        super().__init__(label, fold, lost=lost)
        self._session = session
        self._hold = hold
        self._records = records
        hold.on_end = self._ended
        if hold.lease.ended:
            self._ended(hold.lease.ended)

    def _place(self, record: Record) -> tuple[Session, Hold]:
        return self._session, self._hold

    def records(self) -> Iterator[Record]:
        """Those of this quota."""
        return self._records()

    async def commit(self) -> None:
        """Wait for `close`, and until all is durable: the session commits."""
        await self._closed.wait()
        self._closed = anyio.Event()
        if self._last is not None:
            await self._last.written()

    def release(self) -> None:
        """Its tenure gives it back."""

    @property
    def _what(self) -> str:
        return self._hold.what
