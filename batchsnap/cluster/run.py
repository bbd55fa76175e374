"""A run that many machines work on: taken up or loaded, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import anyio.to_thread

from batchsnap.client.ports import CredentialSource, Say
from batchsnap.client.stopping import BOUND, Stop, bounded
from batchsnap.clock import LoopClock
from batchsnap.cluster.load import (
    append_own,
    end_open,
    last_of_ended,
    load,
    own_quota,
    pairs_of,
    resumed,
    sources_of,
    stop_open,
)
from batchsnap.cluster.share import records_of
from batchsnap.cluster.worker import Offer, Worker
from batchsnap.engine.limits import errors_max
from batchsnap.errors import Exit, LedgerError, LedgerLocked, UsageError
from batchsnap.job.run import Prepared
from batchsnap.job.series import Opened
from batchsnap.job.spec import JobSpec, Result, check_same_cloud
from batchsnap.ledger.replay import Fold
from batchsnap.manifest.reader import Manifest
from batchsnap.owners.parts import Parts
from batchsnap.owners.quotas import QuotaLine
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced
from batchsnap.postgres.reading import LedgerRow, find, need, parts_in, quotas, reader, records
from batchsnap.postgres.recovery import Outage
from batchsnap.postgres.store import DatabaseStore
from batchsnap.report.summary import exit_of, summary_of
from batchsnap.settings import Settings

_REOPEN = (
    "update batchsnap.quota set ended = null where ledger = %s and source <> '' "
    "and (ended <> 'done' or failed > 0 or %s or %s)"
)
_ZERO = "update batchsnap.quota set failed = 0 where ledger = %s and failed <> 0"


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A ledger that is there, and what its run was told."""

    ledger: LedgerRow
    fold: Fold  # of the run's own records

    @property
    def settings(self) -> Settings:
        return Settings().merged(self.fold.settings)

    @property
    def is_open(self) -> bool:
        """Whether whoever comes may work on it."""
        return self.ledger.phase in schema.AT_WORK


def known(address: Address) -> KnownRun | None:
    """The ledger of that address; None where there is none yet.

    Raises:
        LedgerError: the database is out of reach, or holds no ledgers.
    """
    with reader(address, primary=True) as database:
        ledger = find(database, address.ledger)
        if ledger is None:
            return None
        fold = Fold()
        fold.apply(ledger.header)
        for _, record in records_of(database, own_quota(database, ledger.id)):
            fold.apply(record)
        return KnownRun(ledger, fold)


def check_spec(spec: JobSpec) -> None:
    """What a ledger in PostgreSQL can't do yet.

    Raises:
        UsageError: a remedy is in the text.
    """
    if spec.manifest == "-":
        raise UsageError("with a ledger in PostgreSQL the manifest must be a file")
    left_out = {
        "--simulate": (spec.simulated, "rehearse with a ledger in a file"),
        "--max-creating": (spec.given.get("max_creating"), "lower --rate instead"),
    }
    for option, (given, remedy) in left_out.items():
        if given:
            raise UsageError(f"{option} does not work with a ledger in PostgreSQL yet: {remedy}")


def prepare_load(address: Address, spec: JobSpec) -> Prepared:
    """A manifest, validated, for a ledger that is not there yet.

    Raises:
        ManifestError, UsageError: nothing was loaded.
    """
    manifest = Manifest.open(spec.manifest, encoding=spec.encoding)
    try:
        return Prepared(spec, manifest, Opened(DatabaseStore(address)))
    except BaseException:
        manifest.close()
        raise


async def load_run(address: Address, prepared: Prepared, credentials: CredentialSource) -> None:
    """Make the ledger of a prepared run.

    Raises:
        UsageError: a profile has no keys here. LedgerError: nothing was loaded.
    """
    queues = prepared.intake.queues.values()
    sources = await sources_of({queue.profile for queue in queues}, credentials)
    pairs = pairs_of(queues, sources, prepared.endpoint)
    await anyio.to_thread.run_sync(
        partial(load, address, prepared.header(), pairs, wait=prepared.spec.wait)
    )


def is_edited(there: KnownRun, spec: JobSpec) -> bool:
    """Whether the manifest differs from the one that was taken in last.

    Raises:
        LedgerForeign: the ledger is of another cloud.
    """
    check_same_cloud(there.fold.header, spec)
    with Manifest.open(spec.manifest, encoding=spec.encoding) as manifest:
        return bool(manifest.digest() != there.fold.manifest["sha256"])


def take_up(address: Address, there: KnownRun, spec: JobSpec) -> int:
    """Go on with a ledger that is there: what halted, failed or was stopped gets another try. How
    many quotas others work on, for whom what is asked for anew comes too late.

    Raises:
        UsageError: a setting can't be carried out.
        LedgerLocked: another process takes it up at this moment.
    """
    settings = there.settings.merged(spec.given)
    settings.check()
    record = resumed(spec, there.fold.manifest, settings, retry_failed=spec.retry_failed)
    with reader(address, primary=True, to="take up") as database:
        try:
            with database.transaction():
                # The ledger's row first, as whoever ends the run does, or each waits for the other.
                database.run(schema.OPEN, settings.canary > 0, spec.wait, there.ledger.id)
                append_own(database, own_quota(database, there.ledger.id), record)
                again = spec.retry_failed or spec.ask_first
                database.run(_REOPEN, there.ledger.id, again, spec.wait)
                database.run(_ZERO, there.ledger.id)
            asked = spec.retry_failed or spec.ask_first or settings != there.settings
            return asked * sum(part.held for part in parts_in(database, there.ledger))
        except Fenced:
            raise LedgerLocked(
                "another process takes the run up at this moment: run the same command again"
            ) from None


def stop_run(address: Address, there: KnownRun) -> bool:
    """Have every worker drain; False where the run was not open."""
    with reader(address, primary=True, to="stop") as database:
        stopped = stop_open(database, there.ledger.id, Exit.UNFINISHED, reason="batchsnap stop")
        return stopped is not None


class Conclusion(NamedTuple):
    """How a run stands, and the sum of its records."""

    result: Result
    fold: Fold
    quotas: list[QuotaLine]


async def work_on(
    address: Address,
    there: KnownRun,
    offer: Offer,
    stop: Stop,
    say: Say,
) -> Conclusion:
    """Work until the run has ended or is stopped, or nothing is left for this machine.

    Raises:
        LedgerError: the database can't be used.
    """
    settings = there.settings
    worker = Worker(address, there.ledger, settings, offer, stop=stop, say=say)
    async with bounded(stop, settings.max_duration_s):
        await worker.run()
    outage = Outage(LoopClock(), say, settings.retry_for_s, address.database)
    while True:
        try:
            return await anyio.to_thread.run_sync(conclude, address, there, stop)
        except LedgerError as error:
            if not isinstance(error.__cause__, Away):
                raise
            await outage.endure(error.__cause__, closing=stop.stopping)


def _too_many(database: Database, there: KnownRun) -> bool:
    """Whether so many rows failed as --max-errors says: the last ones may have failed after the
    last heartbeat that looked."""
    limit = errors_max(there.settings.max_errors, there.fold.rows)
    failed = sum(row.failed for row in quotas(database, there.ledger.id))
    return limit is not None and failed >= limit


def conclude(address: Address, there: KnownRun, stop: Stop | None = None) -> Conclusion:
    """How the run stands. Where no quota is left to work on, whoever is first says so.

    Raises:
        LedgerError: it can't be read.
    """
    parts = Parts()
    with reader(address, primary=True) as database:
        if stop is not None and stop.reason == BOUND:
            stop_open(database, there.ledger.id, Exit.UNFINISHED, reason=BOUND)
        last = last_of_ended(database, there.ledger.id)
    for record in records(address, primary=True):
        parts.apply(record)
    fold = parts.fold
    with reader(address, primary=True) as database:
        ledger = need(database, address)
        owned = parts_in(database, ledger)
        halted = any(part.ended == "halted" for part in owned) or bool(ledger.reason)
        halted = halted or (ledger.phase != "finished" and _too_many(database, there))

        def exit_code(stop: Exit | None) -> Exit:
            return exit_of(
                summary_of(fold), owed=bool(fold.owed), stop=stop, halted=halted, wait=ledger.wait
            )

        if last is not None and (ended := end_open(database, ledger.id, exit_code(None), last)):
            parts.apply(ended)
    code = exit_code(stop.exit if stop is not None else None)
    result = Result(summary_of(fold), code, address.label)
    return Conclusion(result, fold, parts.now(owned, fold.tally.heard))
