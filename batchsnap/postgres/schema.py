"""The tables, who may do what with them, and the numbers of the locks.

Nobody has update, delete or truncate on `record`: append-only by grant. It has no foreign key,
which would lock the quota's row at each commit; its primary key is the fence.
"""

from __future__ import annotations

from hashlib import blake2b

import orjson

from batchsnap.errors import LedgerError
from batchsnap.model import PlannedRequest

VERSION = 2
_EMPTY = PlannedRequest("", 0, "", "", "", "", "", False, "", "", ())._asdict()
_FIELDS = PlannedRequest._fields

TABLES = """
create schema if not exists batchsnap;
create table if not exists batchsnap.version (schema integer not null);
create table if not exists batchsnap.ledger (
  id      integer generated always as identity primary key,
  name    text not null unique check (name ~ '^[A-Za-z0-9._-]{1,64}$'),
  header  text not null,
  phase   text not null default 'open' check (phase in ('canary', 'open', 'stopped', 'finished')),
  reason  text not null default '',
  wait    boolean not null default false);
create table if not exists batchsnap.quota (
  id      integer generated always as identity primary key,
  ledger  integer not null references batchsnap.ledger,
  source  text not null, host text not null,
  profiles text not null default '[]',
  rows    bigint not null default 0,
  failed  bigint not null default 0,
  ended   text check (ended in ('done', 'halted', 'gave_up')),
  unique (ledger, source, host));
create table if not exists batchsnap.planned (
  quota   integer not null references batchsnap.quota, ord bigint not null,
  request text not null, primary key (quota, ord));
create table if not exists batchsnap.record (
  quota   integer not null, seq bigint not null check (seq > 0),
  line    text not null, primary key (quota, seq));
insert into batchsnap.version select 2 where not exists (select from batchsnap.version);
"""
"""Safe to run again. The quota ('', '') of a ledger holds the run's own records."""

UPGRADE = """
alter table batchsnap.ledger drop constraint ledger_phase_check;
alter table batchsnap.ledger add constraint ledger_phase_check
  check (phase in ('canary', 'open', 'stopped', 'finished'));
alter table batchsnap.ledger add column wait boolean not null default false;
update batchsnap.version set schema = 2;
"""
"""From version 1."""

GRANTS_WORKER = """
grant usage on schema batchsnap to {role};
grant select on all tables in schema batchsnap to {role};
grant insert on batchsnap.ledger, batchsnap.quota, batchsnap.planned, batchsnap.record to {role};
grant delete on batchsnap.planned to {role};
grant update (failed, ended, rows, profiles) on batchsnap.quota to {role};
grant update (phase, reason, wait) on batchsnap.ledger to {role};
"""
GRANTS_READER = """
grant usage on schema batchsnap to {role};
grant select on all tables in schema batchsnap to {role};
"""

SESSION_S = 5
"""So long after its last statement the server ends a writing session, and frees its locks: a frozen
process answers keepalives for ever."""
WRITER = {
    "idle_session_timeout": f"{SESSION_S}s",
    "idle_in_transaction_session_timeout": f"{SESSION_S}s",
    "lock_timeout": "3s",
    "statement_timeout": "0",  # a wait for a standby that is cancelled would look like success
    "synchronous_commit": "on",
}
"""What a writer's session must have."""
WRITER_TCP = {
    "tcp_user_timeout": "5s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
"""What it has where there is TCP."""
SET = "select set_config(n, v, false) from unnest(%s::text[], %s::text[]) s (n, v)"
STANDBYS = "select current_setting('synchronous_standby_names')"
MARK = "batchsnap.session"
MARKED = "select coalesce(current_setting(%s, true), '')"

APPEND = (
    "insert into batchsnap.record (quota, seq, line) "
    "select * from unnest(%b::integer[], %b::bigint[], %b::text[])"
)
"""In binary: as text each quote of each line would be escaped, which cost more than the rest."""
APPEND_AND_COUNT = (
    f"with appended as ({APPEND}) "
    "update batchsnap.quota q set failed = q.failed + f.number "
    "from unnest(%s::integer[], %s::bigint[]) f (id, number) where q.id = f.id"
)
NEWEST = (
    "select q.id, (select max(r.seq) from batchsnap.record r where r.quota = q.id) "
    "from unnest(%s::integer[]) q (id)"
)
LINE = "select line from batchsnap.record where quota = %s and seq = %s"

AT_WORK = ("canary", "open")
"""Phases in which whoever comes may work on a run."""
IS_AT_WORK = f"phase in {AT_WORK}"
"""The same as a statement asks it, which lists values as Python does."""
OPEN = (
    "update batchsnap.ledger l set reason = '', "
    "phase = case when g.canary and l.phase <> 'open' then 'canary' else 'open' end, "
    f"wait = g.wait or (l.wait and l.{IS_AT_WORK}) "
    "from (values (%s::boolean, %s::boolean)) g (canary, wait) where l.id = %s"
)
"""Let it be worked on, by (canary, wait): a run that is past its canary stays so, and one that
waits until all is ready goes on to."""

THERE = "select to_regclass('batchsnap.ledger') is not null"
FACTS = (
    "select l.phase, l.reason, l.wait, "
    "extract(epoch from now() - pg_postmaster_start_time())::float8, "
    "exists (select from batchsnap.quota q where q.ledger = l.id and q.source <> '' and "
    "(select max(r.seq) from batchsnap.record r where r.quota = q.id) is not null) "
    "from batchsnap.ledger l where l.id = %s"
)
"""What workers look at in a ledger; by the primary key, quota by quota: as a join it might read all
records of other ledgers."""

TRY_LOCKS = "select n, pg_try_advisory_lock(n) from unnest(%s::bigint[]) n"
HELD = (
    "select (l.classid::bigint << 32) | l.objid::bigint from pg_locks l "
    "join pg_database d on d.oid = l.database where d.datname = current_database() "
    "and l.locktype = 'advisory' and l.objsubid = 1 and l.granted"
)
LOCKS = f"{HELD} and l.pid = pg_backend_pid()"
UNLOCKS = f"select pg_advisory_unlock(n) from unnest(%s::bigint[]) n where n in ({LOCKS})"
HOLDERS = (
    "select distinct a.pid, a.application_name, "
    "coalesce(a.state = 'active' and a.wait_event = 'ClientRead' and a.query not like 'copy %%' "
    "and a.state_change < now() - interval '8 seconds', false) from pg_locks l "
    "join pg_stat_activity a on a.pid = l.pid join pg_database d on d.oid = l.database "
    "where d.datname = current_database() and l.locktype = 'advisory' and l.objsubid = 1 "
    "and l.granted and (l.classid::bigint << 32) | l.objid::bigint = any(%s::bigint[])"
)
"""And whether each stands half-way in a message, which no timeout ends; a COPY may well."""


def document(request: PlannedRequest) -> bytes:
    """A planned row's `request`: an object of what is not empty, for versions may add to it."""
    return orjson.dumps(
        {name: value for name, value in zip(_FIELDS, request, strict=True) if value}
    )


def request_of(text: str) -> PlannedRequest:
    """The row that a `document` is of."""
    values = {**_EMPTY, **orjson.loads(text)}
    values["tags"] = tuple((key, value) for key, value in values["tags"])
    return PlannedRequest(**values)


def need(there: bool) -> None:
    """Raises LedgerError where the tables are not there."""
    if not there:
        raise LedgerError(
            "the database holds no ledgers yet: batchsnap ledger init URL, once, by its owner"
        )


def pair_lock(source: str, host: str) -> int:
    """The advisory lock of a (source, host): one owner in the whole database, whatever ledger."""
    return _number("pair", source, host)


def run_lock(ledger: str) -> int:
    """The advisory lock of a ledger's own records, and of its loading."""
    return _number("run", ledger)


def _number(*parts: str) -> int:
    digest = blake2b("\0".join(("batchsnap", *parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
