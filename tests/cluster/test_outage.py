"""A database that answers and takes nothing: as one that is out of reach, with its own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from batchsnap.clock import LoopClock
from batchsnap.postgres import recovery
from batchsnap.postgres.door import Away
from batchsnap.postgres.hold import Hold
from batchsnap.postgres.session import Session
from tests.cluster.test_session import OURS, lines, owned
from tests.postgres import Base

REVOKE = "revoke insert on batchsnap.record from worker"
GRANT = "grant insert on batchsnap.record to worker"
Scene = Callable[[Session, Hold, list[str]], Coroutine[Any, Any, None]]


@asynccontextmanager
async def opened(base: Base, said: list[str], patience_s: float) -> AsyncIterator[Session]:
    session = Session(base.address(), LoopClock(), said.append, patience_s=patience_s)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.run)
        yield session
        session.close()


def play(base: Base, scene: Scene, patience_s: float = 60.0) -> None:
    async def main() -> None:
        said: list[str] = []
        with anyio.fail_after(60):
            async with opened(base, said, patience_s) as session:
                await scene(session, await owned(session), said)

    anyio.run(main)


def test_what_takes_no_records_is_told_with_its_cause_and_is_a_stall(base: Base) -> None:
    async def scene(session: Session, hold: Hold, said: list[str]) -> None:
        base.sql(REVOKE)
        group = session.append(hold, "late")
        while not said:
            await anyio.sleep(0.05)
        assert "takes no records, nothing is sent: permission denied" in said[0]
        assert not hold.lease.holds()
        base.sql(GRANT)
        await group.written()
        assert await hold.lease.held()
        assert lines(base) == ["claimed", "late"]
        while not said[1:]:
            await anyio.sleep(0.05)
        assert said[1:] == ["the ledger's database answers again"]

    play(base, scene)


def test_what_takes_no_records_for_too_long_ends_with_5_and_its_cause(base: Base) -> None:
    async def scene(session: Session, hold: Hold, said: list[str]) -> None:
        base.sql(REVOKE)
        await session.append(hold, "never").written()
        assert session.failure is not None
        assert session.failure.exit_code == 5
        assert "permission denied for table record" in str(session.failure)
        assert hold.lease.ended

    play(base, scene, patience_s=3.0)


def test_a_claim_that_is_refused_again_and_again_is_no_new_outage_each_time(base: Base) -> None:
    async def scene(session: Session, hold: Hold, said: list[str]) -> None:
        while session.failure is None:
            with pytest.raises(Away):
                await session.call(lambda db: db.run("insert into batchsnap.version values (2)"))
            await anyio.sleep(0.5)
        assert session.failure.exit_code == 5
        assert "permission denied for table version" in said[0]

    play(base, scene, patience_s=4.0)


def test_another_server_of_the_same_numbers_has_other_records(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover that lost commits, another's records may bear the numbers that we gave."""

    async def scene(session: Session, hold: Hold, said: list[str]) -> None:
        ended: list[str] = []
        hold.on_end = ended.append
        promoted = recovery.Server("00000002", "1")
        monkeypatch.setattr(recovery, "server_of", lambda _: promoted)
        base.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where {OURS}")
        await session.append(hold, "late").written()
        assert "a failover or a restore" in ended[0]
        assert not hold.lease.holds()
        assert lines(base) == ["claimed"]

    play(base, scene)


def test_a_session_that_is_not_its_own_is_known_by_its_mark(base: Base) -> None:
    async def scene(session: Session, hold: Hold, said: list[str]) -> None:
        await session.call(lambda db: db.run("set batchsnap.session = 'of another'"))
        while not hold.lease.ended:
            await anyio.sleep(0.05)
        assert session.failure is not None
        assert session.failure.exit_code == 4
        assert "session mode" in str(session.failure)

    play(base, scene)
