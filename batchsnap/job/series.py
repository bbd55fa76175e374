"""Which ledger a command means, where each day or each run has its own: the newest one decides.

A command that is started again must find the run that it began, on whichever side of midnight it
is. But a night that was left unfinished, for one doubt perhaps, must not stop the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

import anyio

from batchsnap.client.ports import CredentialSource, Say
from batchsnap.client.stopping import Stop, bounded
from batchsnap.clock import LoopClock
from batchsnap.engine.executor import committing
from batchsnap.errors import Exit, LedgerDamaged, LedgerLocked
from batchsnap.job.reopen import Reopened
from batchsnap.job.spec import JobSpec
from batchsnap.ledger.ports import RecordSink, Series, Store
from batchsnap.ledger.record import Record, stamp, unstamp
from batchsnap.ledger.replay import Fold, folded
from batchsnap.lifecycle import UNCERTAIN, Event
from batchsnap.settings import counted

_SETTLE_MOST_S = 900.0  # twice what the longest schedule of a doubt takes, last question and all
GOES_ON_S = 12 * 3600.0  # a run born less than so long ago is the one that was meant


class Earlier(Enum):
    """What becomes of an earlier day's ledger."""

    ENDED = auto()  # today's begins
    GOES_ON = auto()
    SUPERSEDED = auto()  # its doubts are settled, it is closed, today's begins


def earlier_is(fold: Fold, now: datetime) -> Earlier:
    """What becomes of an earlier day's ledger that stands so."""
    if fold.ended is not None:
        return Earlier.ENDED
    young = now.timestamp() - unstamp(fold.header["at"]) < GOES_ON_S
    return Earlier.GOES_ON if young else Earlier.SUPERSEDED


@dataclass(slots=True)
class Opened:
    """A run's ledger, locked, or where it is to be born; an earlier day's that it supersedes."""

    store: Store
    ledger: RecordSink | None = None
    earlier: RecordSink | None = None
    told: str = ""  # what the person should hear of the choice

    def release(self) -> None:
        for ledger in (self.ledger, self.earlier):
            if ledger is not None:
                ledger.release()


def open_newest(series: Series, now: datetime, *, new: bool) -> Opened:
    """Open the series' newest ledger and decide what it means; `new`: --new was given.

    Raises:
        LedgerLocked: a process is at work on it, and its run has not ended.
        LedgerError: it can't be opened, and may be the one that was meant.
    """
    ledger = series.newest.find()
    if ledger is not None:
        if not new or ledger.fold.ended is None:
            return Opened(series.newest, ledger)
        ledger.release()
        return Opened(series.following)
    if series.earlier is None:
        return Opened(series.newest)
    return _after(series.earlier, series.newest, now)


def _after(earlier: Store, store: Store, now: datetime) -> Opened:
    """What an earlier day's ledger means for a run whose own is not there yet."""
    try:
        ledger = earlier.open()
    except LedgerLocked:
        if earlier_is(folded(earlier.records()), now) is Earlier.ENDED:
            return Opened(store)  # who has it only waits, or rolls back
        raise
    except LedgerDamaged as error:
        born = Fold()
        born.apply(next(earlier.records()))
        if earlier_is(born, now) is Earlier.GOES_ON:
            raise
        return Opened(
            store, told=f"{earlier.label} is passed over, its doubts are not settled: {error}"
        )
    meant = earlier_is(ledger.fold, now)
    if meant is Earlier.GOES_ON:
        return Opened(earlier, ledger, told=f"{earlier.name} is unfinished and goes on")
    if meant is Earlier.SUPERSEDED:
        return Opened(store, earlier=ledger)
    ledger.release()
    return Opened(store)


def stands(series: Series, now: datetime) -> Fold | None:
    """Where the ledger stands that a run would take up, read without a lock; None where it would
    begin a new one."""
    if series.newest.exists():
        return folded(series.newest.records())
    if series.earlier is None:
        return None
    fold = folded(series.earlier.records())
    return fold if earlier_is(fold, now) is Earlier.GOES_ON else None


async def supersede(
    earlier: RecordSink,
    spec: JobSpec,
    credentials: CredentialSource,
    stop: Stop,
    say: Say,
    *,
    by: Store,
) -> None:
    """Settle the doubts of an unfinished ledger as far as the cloud answers in time, then close
    and name it. A stop leaves it as it is, for the next start.

    Raises:
        LedgerError: it can't be written.
    """
    header = earlier.fold.header
    cloud_is_there = not header["simulated"] and not spec.simulated
    if cloud_is_there and spec.endpoint in {"", header["endpoint"]}:
        reopened = Reopened(earlier, endpoint="", given={})
        if doubts := reopened.doubts:
            what = "a doubt of it is" if doubts == 1 else f"{doubts:,} doubts of it are"
            say(f"{earlier.label} was left unfinished: {what} settled first")
            await _settle(reopened, credentials, stop, say)
    if stop.stopping:
        return
    left = sum(earlier.fold.counts[state] for state in UNCERTAIN)
    record: Record = {
        "event": Event.FINISHED,
        "at": stamp(LoopClock().wall()),
        "exit": Exit.UNFINISHED,
        "superseded_by": by.label,
    }
    async with committing(earlier):
        await earlier.durable(earlier.append(record))
    say(
        f"{earlier.label} was left unfinished, {counted(left, 'row')} in doubt, and is closed: "
        f"{by.name} supersedes it. What it lacks: batchsnap status {earlier.label}"
    )


async def _settle(reopened: Reopened, credentials: CredentialSource, stop: Stop, say: Say) -> None:
    """Within bounds: a doubt that nobody answers must not stop the next night."""
    own = Stop()

    async def pass_on() -> None:
        with stop.ends():
            await anyio.sleep_forever()
        own.request(stop.exit or Exit.UNFINISHED, stop.reason)

    async with anyio.create_task_group() as tasks, bounded(own, _SETTLE_MOST_S):
        tasks.start_soon(pass_on)
        await reopened.settle(credentials, own, say)
        tasks.cancel_scope.cancel()
