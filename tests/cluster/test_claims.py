"""Quotas claimed together, against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import pytest

from batchsnap.clock import LoopClock
from batchsnap.cluster.claims import Claims
from batchsnap.cluster.share import Share
from batchsnap.postgres import schema
from batchsnap.postgres.door import Away, Database
from batchsnap.postgres.reading import need, quotas, reader
from batchsnap.postgres.session import Session
from batchsnap.settings import Waits
from tests.postgres import Base
from tests.records import birth

QUOTAS = ["a", "b", "c"]


@pytest.fixture
def ledger(base: Base) -> Base:
    """A ledger `x` of three quotas, without rows."""
    header = json.dumps(birth(endpoint="http://127.0.0.1:9"))
    base.sql("insert into batchsnap.ledger (name, header, phase) values ('x', %s, 'open')", header)
    for name in ("", *QUOTAS):
        base.sql(
            "insert into batchsnap.quota (ledger, source, host) values (1, %s, %s)", name, name
        )
    return base


def play(base: Base, scene: Callable[[Claims, Session], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        session = Session(base.address(), LoopClock(), lambda _: None, patience_s=60.0)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.run)
                await scene(Claims(base.address("x"), session, LoopClock(), Waits()), session)
                session.close()

    anyio.run(main)


async def take(base: Base, of: Claims, most: int = 10) -> list[str]:
    """Claim all; the sources of those that are ours."""
    with reader(base.address("x")) as database:
        wanted = [q for q in quotas(database, need(database, base.address("x")).id) if q.source]

    async def admit(shares: list[Share]) -> list[Share]:
        return shares

    return sorted(one.share.quota.source for one in await of.take(wanted, most, admit))


def locked(base: Base) -> set[int]:
    return {number for (number,) in base.sql(schema.HELD)}


def locks(*sources: str) -> set[int]:
    return {schema.pair_lock(source, source) for source in sources}


def written(base: Base) -> list[tuple[Any, ...]]:
    return base.sql(
        "select q.source, r.seq from batchsnap.record r join batchsnap.quota q on q.id = r.quota "
        "where r.line::json ->> 'event' = 'claimed' order by 1, 2"
    )


@pytest.fixture
def meanwhile(base: Base, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has another write to a quota between our reading and our `claimed`."""

    def arrange(source: str) -> None:
        read = Claims._read

        def then(self: Claims, *args: Any) -> Any:
            found = read(self, *args)
            base.sql(
                'insert into batchsnap.record select id, 1, \'{"event": "other"}\' '
                "from batchsnap.quota where source = %s",
                source,
            )
            return found

        monkeypatch.setattr(Claims, "_read", then)

    return arrange


def test_a_batch_is_written_by_one_statement(ledger: Base) -> None:
    async def scene(of: Claims, session: Session) -> None:
        assert await take(ledger, of) == QUOTAS
        assert written(ledger) == [(name, 1) for name in QUOTAS]
        [(transactions,)] = ledger.sql("select count(distinct xmin::text) from batchsnap.record")
        assert transactions == 1
        assert locked(ledger) == locks(*QUOTAS)

    play(ledger, scene)


def test_what_others_took_at_the_same_moment_does_not_count(
    ledger: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.shuffle", lambda _: None)
    other = Database(ledger.address())
    other.run(schema.TRY_LOCKS, list(locks("a", "b")))

    async def scene(of: Claims, session: Session) -> None:
        assert await take(ledger, of, 1) == ["c"]

    play(ledger, scene)
    other.close()


def test_one_to_which_somebody_wrote_meanwhile_is_left_alone_and_the_others_are_ours(
    ledger: Base, meanwhile: Callable[[str], None]
) -> None:
    meanwhile("b")

    async def scene(of: Claims, session: Session) -> None:
        assert await take(ledger, of) == ["a", "c"]
        assert written(ledger) == [("a", 1), ("c", 1)]
        assert locked(ledger) == locks("a", "c")

    play(ledger, scene)


def test_a_session_that_is_lost_in_the_middle_keeps_nothing_that_nobody_works_on(
    ledger: Base, meanwhile: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile("b")
    write, calls = Claims._write, []

    async def lost_at_last(self: Claims, *args: Any) -> None:
        calls.append(args)
        if len(calls) == 1 + len(QUOTAS):  # after all together, and one by one but for the last
            raise Away("the session was lost")
        await write(self, *args)

    monkeypatch.setattr(Claims, "_write", lost_at_last)

    async def scene(of: Claims, session: Session) -> None:
        with suppress(Away):
            assert not await take(ledger, of)
        assert len(written(ledger)) in {1, 2}  # its order is not ours to choose
        assert not session._holds
        assert not locked(ledger)

    play(ledger, scene)


def test_free_ones_are_taken_before_those_that_others_have(ledger: Base) -> None:
    """Among a hundred that others own, chance alone would find the last ones in minutes."""
    owned = [f"other {number}" for number in range(100)]
    for name in owned:
        ledger.sql(
            "insert into batchsnap.quota (ledger, source, host) values (1, %s, %s)", name, name
        )

    async def scene(of: Claims, session: Session) -> None:
        with reader(ledger.address("x")) as other:
            other.run(schema.TRY_LOCKS, list(locks(*owned)))
            assert await take(ledger, of) == QUOTAS

    play(ledger, scene)
