"""A night that was left unfinished makes room for the next one."""

from __future__ import annotations

import anyio

from batchsnap.client.ports import CredentialSource
from batchsnap.client.stopping import Stop, bounded
from batchsnap.clock import LoopClock
from batchsnap.engine.executor import committing
from batchsnap.errors import Exit
from batchsnap.job.reopen import Reopened
from batchsnap.job.spec import JobSpec, Say
from batchsnap.ledger.ports import RecordSink, Store
from batchsnap.ledger.record import Record, stamp
from batchsnap.lifecycle import UNCERTAIN
from batchsnap.plan import counted

_SETTLE_MOST_S = 900.0  # twice what the longest schedule of a doubt takes, last question and all


async def supersede(
    elder: RecordSink,
    order: JobSpec,
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
    header = elder.fold.header
    cloud_is_there = not header["simulated"] and not order.simulated
    if cloud_is_there and order.endpoint in {"", header["endpoint"]}:
        reopened = Reopened(elder, endpoint="", given={})
        if doubts := reopened.doubts:
            what = "a doubt of it is" if doubts == 1 else f"{doubts:,} doubts of it are"
            say(f"{elder.label} was left unfinished: {what} settled first")
            await _settle(reopened, credentials, stop, say)
    if stop.stopping:
        return
    left = sum(elder.fold.counts[state] for state in UNCERTAIN)
    record: Record = {
        "event": "finished",
        "at": stamp(LoopClock().wall()),
        "exit": Exit.UNFINISHED,
        "superseded_by": by.label,
    }
    async with committing(elder):
        await elder.durable(elder.append(record))
    say(
        f"{elder.label} was left unfinished, {counted(left, 'row')} in doubt, and is closed: "
        f"{by.name} supersedes it. What it lacks: batchsnap status {elder.label}"
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
