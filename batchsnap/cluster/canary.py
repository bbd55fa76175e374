"""The first N rows of a run, made and awaited before all others (phase `canary`).

Whoever has the run's lock makes them, alone: it owns the quotas that it needs, feeds the engine
nothing else, and opens the run once N snapshots are ready. All others wait; should it die, one of
them, or the next `run`, gets the lock and goes on with what was made so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial

import anyio.to_thread

from batchsnap.client.ports import Say
from batchsnap.cluster.share import records_of
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import DONE, FAILED_WORDS, Event, State
from batchsnap.model import PlannedRequest
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Database
from batchsnap.postgres.reading import LedgerRow, QuotaRow, quotas, reader
from batchsnap.postgres.recovery import newest_of, seen, try_locks
from batchsnap.postgres.session import Session
from batchsnap.settling.row import was_suspect

_BEING_MADE = (State.SENT, State.IN_DOUBT, State.ACCEPTED)
_REST_S = 10.0
_GO_ON = "update batchsnap.ledger set phase = 'open' where id = %s and phase = 'canary'"


class Canary:
    """As one worker sees it: it makes it, or waits for who does."""

    def __init__(
        self, address: Address, ledger: LedgerRow, number: int, session: Session, say: Say
    ) -> None:
        self.failure = ""  # why nothing else is to be made
        self._address = address
        self._ledger = ledger
        self._number = number
        self._session = session
        self._say = say
        self._told = ""
        self._leads = False
        self._rests_until = -math.inf  # monotonic; others are let to it
        self._counted = False
        self._ready = 0
        self._failed = 0  # in this process
        self._budget = 0  # rows that are to be made beside those that are being made
        self._each = 0  # so many of them in a quota
        self._begun: set[int] = set()  # quotas that have rows being made
        self._empty: set[int] = set()  # quotas that have no row to give

    async def leads(self, left: list[QuotaRow], mine: list[QuotaRow], *, idle: bool) -> bool:
        """Whether this process makes it: of `left`, the quotas that have not ended, it can work on
        `mine`. `idle`: it owns none now, and where it can give no more, another is let to it.

        Raises:
            Away: that is not known. LedgerError: what was made so far can't be read.
        """
        now, lock = self._session.clocks.now().monotonic, schema.run_lock(self._address.ledger)
        if now < self._rests_until:
            return False
        self._leads = await self._session.call(partial(_locked, lock=lock))
        if not self._leads:
            self._tell(
                f"waits: another process makes the canary, {self._number} snapshots, and opens "
                "the run to all once they are ready"
            )
            return False
        if not self._counted:
            await anyio.to_thread.run_sync(self._count)
            self._tell(f"canary: {self._number} snapshots first, {self._ready} of them are ready")
        if idle and not self.well(left) and not self.wanted(mine):
            self._rests_until = now + _REST_S
            self._tell("waits: the canary needs rows whose keys this machine lacks")
            await self._session.call(lambda db: db.run(schema.UNLOCKS, [lock]))
            self._leads = False
        return self._leads

    def wanted(self, quotas: Iterable[QuotaRow]) -> list[QuotaRow]:
        """Those of the quotas whose rows are needed, what was begun before what was not."""
        left = [quota for quota in quotas if quota.id not in self._empty]
        begun = [quota for quota in left if quota.id in self._begun]
        chosen = begun or left[: max(0, self._budget)]
        self._each = math.ceil(max(0, self._budget) / max(1, len(chosen)))
        return chosen

    def choose(
        self, quota: int, fold: Fold, requests: Iterable[PlannedRequest], retry_failed: bool
    ) -> Iterator[PlannedRequest]:
        """The rows of a quota that are to be made now: those that were begun, and some fresh
        ones."""
        fresh = min(self._each, self._budget)
        given = 0
        for request in requests:
            state = fold.standing(request.key).state
            if state in DONE or (state is State.REJECTED and not retry_failed):
                continue
            if state not in _BEING_MADE:
                if given == fresh:
                    continue
                given += 1
            yield request
        self._budget -= given
        if fresh and not given and quota not in self._begun:
            self._empty.add(quota)

    def heard(self, record: Record) -> None:
        """A record of a row that was chosen."""
        self._ready += record["event"] == Event.READY
        self._failed += record["event"] in FAILED_WORDS or was_suspect(record)
        if self._failed:
            self.failure = f"the canary failed: {self._failed} of its {self._number} rows"

    def ended(self, how: str | None) -> None:
        """A quota's part of it has ended."""
        if how in {"halted", "gave_up"} and self._ready < self._number:
            what = "was halted" if how == "halted" else "waits for snapshots, and none comes ready"
            self.failure = self.failure or f"the canary {what}: `batchsnap status` says why"

    def recount(self) -> None:
        """No part of it is under way: what is there now decides what is done next."""
        self._counted = False

    def well(self, left: Iterable[QuotaRow]) -> bool:
        """Whether enough are ready, or there are no more rows to be made in `left`, the quotas
        that have not ended."""
        if not self._leads or self.failure:
            return False
        if self._ready >= self._number:
            return True
        return self._counted and not self._begun and all(q.id in self._empty for q in left)

    async def go_on(self) -> None:
        """Open the run to all.

        Raises:
            Away: whether that was done is not known.
        """
        lock = schema.run_lock(self._address.ledger)

        def opened(database: Database) -> None:
            database.run(_GO_ON, self._ledger.id)
            database.run(schema.UNLOCKS, [lock])

        await self._session.call(opened)
        self._say(f"canary: {self._ready} snapshots are ready, going on with the rest")

    def _count(self) -> None:
        """See what was made so far."""
        ready, being_made, begun = 0, 0, set()
        for quota, fold in _folds(self._address, self._ledger):
            counts = fold.counts
            here = sum(counts[state] for state in _BEING_MADE)
            if here:
                begun.add(quota)
            being_made += here
            ready += counts[State.READY]
        self._ready, self._begun = ready, begun
        self._budget = self._number - ready - being_made
        self._counted = True

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._say(text)


def _locked(database: Database, lock: int) -> bool:
    """Whether this session has the lock; one that it has is not tried, for locks are counted."""
    return lock in seen(database)[1] or bool(try_locks(database, [lock]))


def _folds(address: Address, ledger: LedgerRow) -> Iterator[tuple[int, Fold]]:
    """Where the rows of each quota stand that has records."""
    with reader(address, primary=True) as database, database.snapshot():
        for quota in newest_of(database, [q.id for q in quotas(database, ledger.id) if q.source]):
            fold = Fold()
            for _, record in records_of(database, quota):
                fold.apply(record)
            yield quota, fold
