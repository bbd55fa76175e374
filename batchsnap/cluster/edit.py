"""An edited manifest for a run that nobody works on: all its quotas are taken, held against it as a
file's ledger is, and what is left is planned anew, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import anyio.to_thread
import orjson

from batchsnap.client.ports import CredentialSource
from batchsnap.cluster.load import (
    Pair,
    add_quota,
    append_own,
    pairs_of,
    plan_rows,
    resumed,
    sources_of,
)
from batchsnap.cluster.run import KnownRun
from batchsnap.engine.queue import Queue
from batchsnap.errors import LedgerError, LedgerLocked, ManifestError
from batchsnap.job.run import Prepared
from batchsnap.job.series import Opened
from batchsnap.job.spec import JobSpec
from batchsnap.manifest.reader import Manifest
from batchsnap.model import PlannedRequest, Problem
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Database, Fenced
from batchsnap.postgres.reading import need, quotas, reader
from batchsnap.postgres.recovery import newest_of, try_locks
from batchsnap.postgres.store import DatabaseStore
from batchsnap.postgres.whole import WholeSink

_FORGET = "delete from batchsnap.planned where quota = any(%s)"
_ROWS = (
    "update batchsnap.quota set failed = 0, ended = null, profiles = %s, rows = %s + "
    "(select count(*) from batchsnap.record where quota = id and "
    "line::json ->> 'event' = 'accepted') where id = %s"
)


def prepare_edit(address: Address, there: KnownRun, spec: JobSpec) -> tuple[Prepared, WholeSink]:
    """The edited manifest against all that the ledger knows; the run is stopped from here on.

    Raises:
        LedgerLocked: somebody works on it. ManifestError, UsageError, LedgerForeign: as for a file.
    """
    # What was rejected stays planned; each claim leaves it alone unless it is told otherwise.
    judged = replace(spec, retry_failed=True)
    if there.is_open:  # nobody stops anything for a manifest that can't be taken in
        look(address, judged).close()
    return _prepared(address, judged, WholeSink.open)


def look(address: Address, spec: JobSpec) -> Prepared:
    """The manifest against all that the ledger knows, of which nothing is taken.

    Raises:
        ManifestError, UsageError, LedgerForeign: as for a file. LedgerError: it can't be read.
    """
    return _prepared(address, spec, WholeSink.read)[0]


def _prepared(
    address: Address, spec: JobSpec, open_: Callable[[Address], WholeSink]
) -> tuple[Prepared, WholeSink]:
    manifest, sink = Manifest.open(spec.manifest, encoding=spec.encoding), None
    try:
        sink = open_(address)
        return Prepared(spec, manifest, Opened(DatabaseStore(address), sink)), sink
    except BaseException:
        manifest.close()
        if sink is not None:
            sink.release()
        raise


async def take_edit(
    address: Address,
    prepared: Prepared,
    sink: WholeSink,
    credentials: CredentialSource,
    *,
    retry_failed: bool,
) -> None:
    """Plan anew what is left, and open the run.

    Raises:
        ManifestError: a row that was sent would change its quota. LedgerError: nothing has changed.
    """
    queues = prepared.intake.queues.values()
    sources = await sources_of({queue.profile for queue in queues}, credentials)
    pairs = pairs_of(queues, sources, prepared.endpoint)

    def replace_planned() -> None:
        try:
            with reader(address, primary=True) as database:
                _lock(database, address, sink)
                with database.transaction():
                    _plan(database, address, prepared, sink, pairs, retry_failed=retry_failed)
        except Fenced as fenced:
            raise LedgerError(f"can't take the manifest into {address.label}: {fenced}") from None

    await anyio.to_thread.run_sync(replace_planned)


def _lock(database: Database, address: Address, sink: WholeSink) -> None:
    """All of it is as `sink` left it, and stays so."""
    locks = [hold.lock for hold in sink.holds.values()]
    as_left = {quota: hold.durable for quota, hold in sink.holds.items()}
    if len(try_locks(database, locks)) < len(locks) or newest_of(database, as_left) != as_left:
        raise LedgerLocked(f"another process has taken {address.label} up meanwhile: run again")


def _plan(
    database: Database,
    address: Address,
    prepared: Prepared,
    sink: WholeSink,
    pairs: Mapping[Pair, list[Queue]],
    *,
    retry_failed: bool,
) -> None:
    ledger = need(database, address)
    rows = quotas(database, ledger.id)
    ids = {Pair(row.source, row.host): row.id for row in rows}
    profiles = {row.id: set(row.profile_names) for row in rows}
    for pair, queues in pairs.items():
        if pair not in ids:
            ids[pair] = add_quota(database, ledger.id, pair)
        profiles.setdefault(ids[pair], set()).update(queue.profile for queue in queues)
    database.run(_FORGET, list(ids.values()))

    problems: list[Problem] = []

    def check(request: PlannedRequest, quota: int) -> None:
        """A row that was ever sent does not change its quota."""
        sent = prepared.fold.intents.get(request.key)
        at = sent and sink.quota_at(sent["profile"] or "", sent["region"] or "")
        if sent is not None and at != quota:
            what = "was sent with another Region or Profile, and keeps them: put them back"
            problems.append(Problem(prepared.manifest.name, request.line, "", what))

    counts = plan_rows(database, pairs, ids, check)
    if problems:
        raise ManifestError(problems, len(problems))
    for quota in ids.values():
        names = orjson.dumps(sorted(profiles[quota])).decode()
        database.run(_ROWS, names, counts.get(quota, 0), quota)
    sink.give_back(database)
    manifest, settings = prepared.manifest_record(), prepared.settings
    record = resumed(prepared.spec, manifest, settings, retry_failed=retry_failed)
    append_own(database, next(row.id for row in rows if not row.source), record)
    database.run(schema.OPEN, settings.canary > 0, prepared.spec.wait, ledger.id)
