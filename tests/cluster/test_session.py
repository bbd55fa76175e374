"""The writing session against a real server: what is durable, what is lost, what is only late."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest

from batchsnap.clock import LoopClock
from batchsnap.errors import LedgerError
from batchsnap.postgres import recovery, schema
from batchsnap.postgres.door import Away, Database, Fenced
from batchsnap.postgres.hold import Hold
from batchsnap.postgres.session import Session
from tests.cluster.team import until
from tests.postgres import Base

OURS = "application_name like 'batchsnap%%' and datname = current_database()"
Scene = Callable[[Session, Hold], Coroutine[Any, Any, None]]


@asynccontextmanager
async def opened(base: Base) -> AsyncIterator[Session]:
    session = Session(base.address(), LoopClock(), lambda _: None, patience_s=60.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.run)
        yield session
        session.close()


async def owned(session: Session, quota: int = 1) -> Hold:
    """A quota as a claim leaves it: locked, and `claimed` its newest record."""
    lock = 1000 + quota
    await session.call(lambda db: db.run(schema.TRY_LOCKS, [lock]))
    await session.call(lambda db: db.run(schema.APPEND, [quota], [1], ["claimed"]))
    hold = Hold(quota, lock, 1, session.clocks, f"quota {quota}")
    session.adopt(hold)
    assert await hold.lease.held()
    return hold


def play(base: Base, scene: Scene) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            async with opened(base) as session:
                await scene(session, await owned(session))

    anyio.run(main)


def lines(base: Base, quota: int = 1) -> list[str]:
    found = base.sql("select line from batchsnap.record where quota = %s order by seq", quota)
    return [line for (line,) in found]


def test_what_is_done_is_there_in_order_and_failures_are_counted_with_it(base: Base) -> None:
    base.sql("insert into batchsnap.ledger (name, header) values ('x', '{}')")
    base.sql("insert into batchsnap.quota (ledger, source, host) values (1, 'a', 'b')")

    async def scene(session: Session, hold: Hold) -> None:
        groups = [session.append(hold, f"line {i}", failed=i % 2 == 0) for i in range(10)]
        for group in groups:
            await group.written()
        assert lines(base) == ["claimed", *(f"line {i}" for i in range(10))]
        assert base.sql("select failed from batchsnap.quota where id = 1") == [(5,)]

    play(base, scene)


def test_a_failure_of_a_quota_that_was_lost_is_not_counted(base: Base) -> None:
    async def scene(session: Session, hold: Hold) -> None:
        base.sql("insert into batchsnap.ledger (name, header) values ('x', '{}')")
        for source in ("a", "b"):
            base.sql(
                "insert into batchsnap.quota (ledger, source, host) values (1, %s, '')", source
            )
        other = await owned(session, 2)
        for one in (hold, other):
            group = session.append(one, "failed", failed=True)
        hold.end("lost")
        await group.written()
        assert (lines(base), lines(base, 2)) == (["claimed"], ["claimed", "failed"])
        assert base.sql("select failed from batchsnap.quota order by id") == [(0,), (1,)]

    play(base, scene)


def test_what_nobody_waits_for_goes_with_what_somebody_does_or_with_the_next_heartbeat(
    base: Base,
) -> None:
    async def scene(session: Session, hold: Hold) -> None:
        session.append(hold, "an outcome")
        await session.call(lambda db: None)  # the session had its turn
        await session.append(hold, "an intent").written()
        [(statements,)] = base.sql("select count(distinct xmin::text) from batchsnap.record")
        assert statements == 2, "that of `claimed`, and one for both"
        session.append(hold, "the last outcome")
        while len(lines(base)) < 4:
            await anyio.sleep(0.05)

    play(base, scene)


def test_a_session_that_is_ended_by_the_server_is_a_stall_and_no_loss(base: Base) -> None:
    async def scene(session: Session, hold: Hold) -> None:
        for number in range(5):
            base.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where {OURS}")
            await session.append(hold, f"line {number}").written()
        assert not hold.lease.ended
        assert await hold.lease.held()
        assert lines(base) == ["claimed", *(f"line {i}" for i in range(5))]

    play(base, scene)


def test_a_group_that_was_carried_out_and_whose_answer_was_lost_is_not_written_twice(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, lost = Database.run, []

    def answer_lost(self: Database, query: str, *values: Any) -> list[tuple[Any, ...]]:
        rows = run(self, query, *values)
        if query == schema.APPEND and values[2] == ["twice?"] and not lost:
            lost.append(query)
            self.close()
            raise Away("the answer was lost")
        return rows

    async def scene(session: Session, hold: Hold) -> None:
        monkeypatch.setattr(Database, "run", answer_lost)
        await session.append(hold, "twice?").written()
        await session.append(hold, "after").written()
        assert lost
        assert not hold.lease.ended
        assert lines(base) == ["claimed", "twice?", "after"]

    play(base, scene)


def test_who_was_replaced_can_make_nothing_durable_and_its_other_quotas_go_on(base: Base) -> None:
    async def scene(session: Session, hold: Hold) -> None:
        other = await owned(session, 2)
        heard: list[str] = []
        hold.on_end = heard.append
        base.sql("insert into batchsnap.record values (1, 2, 'claimed by another')")
        lost = session.append(hold, "of the former")
        kept = session.append(other, "of the same group")
        await lost.written()
        await kept.written()
        assert heard == ["another process owns this quota now"]
        assert not await hold.lease.held()
        assert lines(base) == ["claimed", "claimed by another"]
        assert lines(base, 2) == ["claimed", "of the same group"]
        assert await other.lease.held()

    play(base, scene)


def test_the_heartbeat_finds_a_replaced_owner_that_has_nothing_to_write(base: Base) -> None:
    async def scene(session: Session, hold: Hold) -> None:
        base.sql("insert into batchsnap.record values (1, 2, 'claimed by another')")
        while not hold.lease.ended:  # a heartbeat away
            await anyio.sleep(0.05)
        assert not hold.lease.holds()

    play(base, scene)


def test_a_lock_that_is_gone_from_a_living_session_is_told_and_ends_it(base: Base) -> None:
    """As behind a pooler in transaction mode, where each statement may be another session's."""

    async def scene(session: Session, hold: Hold) -> None:
        await session.call(lambda db: db.run("select pg_advisory_unlock_all()"))
        while not hold.lease.ended:
            await anyio.sleep(0.05)
        assert "session mode" in hold.lease.ended
        assert isinstance(session.failure, LedgerError)
        assert session.failure.exit_code == 4

    play(base, scene)


def test_a_quota_that_another_session_has_locked_meanwhile_is_lost(base: Base) -> None:
    async def scene(session: Session, hold: Hold) -> None:
        other = Database(base.address())
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, other.run, "select pg_advisory_lock(1001)")
            while not base.sql(f"{waiting} and pid = {other.pid}")[0][0]:
                await anyio.sleep(0.02)
            former = f"select pg_terminate_backend(pid) from pg_stat_activity where {OURS}"
            base.sql(f"{former} and pid <> {other.pid}")
        await session.append(hold, "late").written()
        assert hold.lease.ended
        assert lines(base) == ["claimed"]
        other.close()

    play(base, scene)


def test_a_warning_in_answer_to_a_commit_is_no_answer(base: Base) -> None:
    """A cancelled wait for a standby reports success, with a warning."""
    database = Database(base.address(), writer=True)
    with pytest.raises(Away, match="not replicated"):
        database.run(
            "do $$ begin raise warning 'the transaction has committed locally, but might not "
            "have been replicated to the standby: not replicated'; end $$"
        )
    with pytest.raises(Fenced):
        for _ in range(2):
            database.run(schema.APPEND, [7], [1], ["x"])
    database.close()


def test_a_writing_session_has_the_limits_that_its_promises_rest_on(base: Base) -> None:
    database = Database(base.address(), writer=True)
    shown = {
        name: database.one(f"show {name}")[0]
        for name in ("idle_session_timeout", "statement_timeout", "synchronous_commit")
    }
    assert shown == {
        "idle_session_timeout": "5s",
        "statement_timeout": "0",
        "synchronous_commit": "on",
    }
    database.close()


def test_a_server_that_may_forget_what_it_called_durable_is_refused(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Database.one

    def off(self: Database, query: str, *values: Any) -> tuple[Any, ...]:
        return ("off",) if query == "show fsync" else one(self, query, *values)

    monkeypatch.setattr(Database, "one", off)
    with pytest.raises(LedgerError, match="fsync=off"):
        Database(base.address(), writer=True)


def test_a_database_without_tables_is_told_what_to_do(base: Base) -> None:
    base.sql("drop schema batchsnap cascade")
    with pytest.raises(LedgerError, match="ledger init"):
        Database(base.address(), writer=True)


@pytest.mark.parametrize(
    "statement",
    [
        "update batchsnap.record set line = ''",
        "delete from batchsnap.record",
        "truncate batchsnap.record",
    ],
)
def test_nobody_may_change_or_delete_a_record(base: Base, statement: str) -> None:
    database = Database(base.address(), writer=True)
    database.run(schema.APPEND, [1], [1], ["x"])
    with pytest.raises(Away, match="permission denied"):
        database.run(statement)
    database.close()


@pytest.mark.long
def test_a_holder_that_stands_half_way_in_a_message_is_ended(base: Base) -> None:
    """No timeout of the server's ends it: it is not idle, and waits for the rest."""
    there = base.server.address(base.name, user="worker")
    frozen, other = psycopg.connect(there, autocommit=True), Database(base.address(), writer=True)
    frozen.execute("select pg_advisory_lock(77)")
    parse = b"\0select 1\0\0\0"
    whole = b"P" + (len(parse) + 4).to_bytes(4, "big") + parse
    os.write(frozen.pgconn.socket, whole + b"B" + (20_000).to_bytes(4, "big") + b"half")
    assert not recovery.end_former(other, [77], frozenset())
    assert recovery.try_locks(other, [77]) == set()
    until(lambda: recovery.end_former(other, [77], frozenset()))
    until(lambda: recovery.try_locks(other, [77]) == {77})
    other.close()
    frozen.close()
