"""What a session does in the database, in its thread: append, look whether all is ours, and find
out what became of a group whose answer was lost; and how long it endures that nothing comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from typing import NamedTuple

import orjson

from batchsnap.clock import Clock
from batchsnap.errors import LedgerAway, LedgerError
from batchsnap.lifecycle import Event
from batchsnap.postgres import schema
from batchsnap.postgres.door import POOLED, Away, Database, Declined
from batchsnap.postgres.hold import Batch, Hold
from batchsnap.postgres.reading import QuotaRow

_RETRY_S = (0.1, 2.0)  # first and longest pause between attempts
_SAID_AFTER_S = 2.0
_CLOSING_S = 5.0  # nobody waits for what is left then
_QUIET_S = 10.0  # so long without another refusal, what was refused is taken to be mended
_SERVER = (
    "select left(pg_walfile_name(pg_current_wal_lsn()), 8), "
    "(select system_identifier::text from pg_control_system())"
)
_LAST_OF_PAIRS = (
    "select (select r.line from batchsnap.record r where r.quota = q.id order by r.seq desc "
    "limit 1) from unnest(%s::text[], %s::text[]) p (source, host) "
    "join batchsnap.quota q on q.source = p.source and q.host = p.host"
)


class Server(NamedTuple):
    """Which history of which cluster answers: a failover or a restore has another."""

    timeline: str
    system: str


def server_of(database: Database) -> Server:
    return Server(*database.one(_SERVER))


def other_history(then: Server | None, now: Server) -> str:
    """Why records that were durable then may be missing now; "" where none are."""
    if then is None or then == now:
        return ""
    if then.system != now.system:
        return "the database was restored into another cluster"
    return "the database's server was replaced (a failover or a restore) since the last claim"


class Outage:
    """How long the database has been of no use. It begins at the first failure. It is over once
    all that was due was carried out; where it was no loss but a refusal, which the next record may
    meet again, once a record was written or nothing was refused for a while."""

    def __init__(
        self, clock: Clock, say: Callable[[str], None], patience_s: float, database: str
    ) -> None:
        self._clock = clock
        self._say = say
        self._patience_s = patience_s
        self._name = database
        self._since: float | None = None
        self._latest = 0.0
        self._pause_s = _RETRY_S[0]
        self._refused = False
        self._said = ""

    async def endure(self, away: Away, *, closing: bool) -> None:
        """Wait before the next attempt.

        Raises:
            LedgerAway: it took too long.
        """
        now = self._clock.monotonic()
        if self._since is None:
            self._since, self._pause_s, self._said, self._refused = now, _RETRY_S[0], "", False
        self._latest = now
        self._refused |= isinstance(away, Declined)
        what = "takes no records" if self._refused else "is out of reach"
        away_s = now - self._since
        if away_s > (min(_CLOSING_S, self._patience_s) if closing else self._patience_s):
            raise LedgerAway(
                f"the ledger's database {self._name} {what}, for {away_s:.0f} s: {away}. Run the "
                "same command again once that is mended"
            )
        if away_s > _SAID_AFTER_S and self._said != what:
            self._said = what
            self._say(f"the ledger's database {what}, nothing is sent: {away}")
        await self._clock.sleep(self._pause_s)
        self._pause_s = min(_RETRY_S[1], self._pause_s * 2)

    def good(self, *, written: bool) -> None:
        """All that was due was carried out."""
        if self._since is None:
            return
        if self._refused and not written and self._clock.monotonic() - self._latest < _QUIET_S:
            return
        self._since = None
        if self._said:
            self._say("the ledger's database answers again")


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


def seen(database: Database, holds: Iterable[Hold] = ()) -> tuple[dict[int, int], set[int]]:
    """The newest number of each quota, and the locks that this session has; what is told is on the
    standbys too.

    Raises:
        LedgerError: it is another session than it was.
    """
    [[(standbys,)], newest, [(mark,)], locks] = database.together(
        (schema.STANDBYS,),
        (schema.NEWEST, [hold.quota for hold in holds]),
        (schema.MARKED, schema.MARK),
        (schema.LOCKS,),
    )
    if mark != database.mark:
        raise LedgerError(POOLED)
    database.replicate(standbys)
    return dict(newest), {number for (number,) in locks}


def newest_of(database: Database, ids: Iterable[int]) -> dict[int, int]:
    """The number of each quota's last record, of those that have one."""
    return {quota: seq for quota, seq in database.run(schema.NEWEST, list(ids)) if seq is not None}


def given_back(database: Database, quotas: Sequence[QuotaRow]) -> bool:
    """Whether each tenure of their pairs, in whatever ledger, was ended by who had it."""
    sources, hosts = [quota.source for quota in quotas], [quota.host for quota in quotas]
    last = [line for (line,) in database.run(_LAST_OF_PAIRS, sources, hosts)]
    return all(line is None or orjson.loads(line)["event"] == Event.RELEASED for line in last)


def try_locks(database: Database, locks: list[int]) -> set[int]:
    """Those of them that were free, and are this session's now."""
    return {number for number, taken in database.run(schema.TRY_LOCKS, locks) if taken}


def end_former(database: Database, locks: list[int], former: Set[int]) -> bool:
    """Whether a former session of ours, or a writer frozen half-way in a message, which no timeout
    ends, has one of the locks. It is ended."""
    found = False
    for pid, name, stuck in database.run(schema.HOLDERS, locks):
        if stuck or (pid in former and name == database.name):
            found = True
            with suppress(Away):
                database.run("select pg_terminate_backend(%s)", pid)
    return found


def look(database: Database, holds: Iterable[Hold]) -> Newest:
    """The last record of each quota; what is told is on the standbys too."""
    database.replicate()
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
