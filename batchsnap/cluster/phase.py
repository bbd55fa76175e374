"""A run's ends, each told once: the phase changes and the record is written in one transaction, by
whoever is first."""

from __future__ import annotations

from datetime import UTC, datetime

from batchsnap.cluster.load import append_own
from batchsnap.errors import Exit
from batchsnap.ledger.record import Record, stamp
from batchsnap.lifecycle import Event
from batchsnap.postgres.door import Away, Database, Fenced

_OWN = "select id from batchsnap.quota where ledger = %s and source = ''"
_STOP = (
    "update batchsnap.ledger set phase = 'stopped', reason = %s "
    "where id = %s and phase in ('canary', 'open') returning id"
)
_ALL_ENDED = (
    "not exists (select from batchsnap.quota where ledger = l.id and source <> '' "
    "and ended is null)"
)
_END = (
    "update batchsnap.ledger l set phase = %s where id = %s and phase in ('canary', 'open') and "  # noqa: S608
    f"{_ALL_ENDED} returning id"
)
_TRIES = 3  # the run's own records have no owner: another process may write at the same moment


def own_quota(database: Database, ledger: int) -> int:
    """The quota that holds the run's own records."""
    number: int = database.one(_OWN, ledger)[0]
    return number


def stop_open(database: Database, ledger: int, code: Exit, *, reason: str) -> Record | None:
    """Have every worker drain; None where the run is not open. Of one that is halted the reason
    stays with the ledger too.

    Raises:
        Away: whether it was done is not known.
    """
    record: Record = {"event": Event.STOPPED, "at": now_stamp(), "exit": code, "reason": reason}
    return _written(database, ledger, record, _STOP, reason if code is Exit.HALTED else "", ledger)


def end_open(database: Database, ledger: int, code: Exit) -> Record | None:
    """Write how a run ended of which no quota is left to work on; None where it is not so, or
    where another was first.

    Raises:
        Away: whether it was done is not known.
    """
    well = code in {Exit.DONE, Exit.SOME_FAILED}
    event = Event.FINISHED if well else Event.STOPPED
    record: Record = {"event": event, "at": now_stamp(), "exit": code}
    return _written(database, ledger, record, _END, "finished" if well else "stopped", ledger)


def _written(
    database: Database, ledger: int, record: Record, change: str, *values: object
) -> Record | None:
    for _ in range(_TRIES):
        try:
            with database.transaction():
                if not database.run(change, *values):
                    return None
                append_own(database, own_quota(database, ledger), record)
        except Fenced:
            continue
        return record
    raise Away("other processes write the run's own records at the same moment")


def now_stamp() -> str:
    return stamp(datetime.now(UTC).timestamp())
