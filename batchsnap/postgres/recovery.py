"""What a session does in the database, in its thread: append, look whether all is ours, and find
out what became of a group whose answer was lost."""

from __future__ import annotations

from collections.abc import Iterable, Set
from contextlib import suppress

from batchsnap.postgres import schema
from batchsnap.postgres.door import Away, Database
from batchsnap.postgres.hold import Batch, Hold

Newest = dict[int, tuple[int, str] | None]
"""The last record of each quota: its number and its line."""


def append(database: Database, group: Batch) -> None:
    """Write a group, all of it or nothing.

    Raises:
        Away: whether it was written is not known. Fenced: a quota of it is another's.
    """
    values = (
        [hold.quota for hold, _, _ in group.entries],
        [seq for _, seq, _ in group.entries],
        [line for _, _, line in group.entries],
    )
    if group.failed:
        failed = list(group.failed), list(group.failed.values())
        database.run(schema.APPEND_AND_COUNT, *values, *failed)
    else:
        database.run(schema.APPEND, *values)


def seen(database: Database, holds: Iterable[Hold]) -> tuple[dict[int, int], set[int]]:
    """The newest number of each quota, and the locks that this session has."""
    _replicated(database)
    newest = newest_of(database, [hold.quota for hold in holds])
    return newest, {number for (number,) in database.run(schema.LOCKS)}


def newest_of(database: Database, ids: Iterable[int]) -> dict[int, int]:
    """The number of each quota's last record, of those that have one."""
    return {quota: seq for quota, seq in database.run(schema.NEWEST, list(ids)) if seq is not None}


def try_locks(database: Database, locks: list[int]) -> set[int]:
    """Those of them that were free, and are this session's now."""
    return {number for number, taken in database.run(schema.TRY_LOCKS, locks) if taken}


def end_former(database: Database, locks: list[int], former: Set[int]) -> bool:
    """Whether a former session of ours, or a writer frozen half-way in a message, which no timeout
    ends, has one of the locks. It is ended."""
    found = False
    for lock in locks:
        for pid, name, stuck in database.run(schema.HOLDERS, lock):
            if stuck or (pid in former and name == database.name):
                found = True
                with suppress(Away):
                    database.run("select pg_terminate_backend(%s)", pid)
    return found


def look(database: Database, holds: Iterable[Hold]) -> Newest:
    """The last record of each quota; what is told is on the standbys too."""
    _replicated(database)
    newest = newest_of(database, [hold.quota for hold in holds])
    return {quota: (seq, database.one(schema.LINE, quota, seq)[0]) for quota, seq in newest.items()}


def settle(hold: Hold, found: Newest, sent: Batch | None) -> bool:
    """Whether the quota is as we left it: the newest record is our last durable one, or the last
    of the group whose answer was lost; then that part of the group was carried out."""
    newest = found.get(hold.quota)
    if newest is None:
        return False
    if newest[0] == hold.durable:
        return True
    part = sent.of(hold).entries if sent is not None else []
    if sent is None or not part or part[-1][1:] != newest:
        return False
    hold.durable = newest[0]
    sent.leave(hold)
    return True


def _replicated(database: Database) -> None:
    """With standbys that a commit waits for, make one: all before it is there too then, and a
    deposed primary, which answers reads for ever, does not answer this."""
    if database.one("show synchronous_standby_names")[0]:
        database.run("select pg_logical_emit_message(true, 'batchsnap', '')")
