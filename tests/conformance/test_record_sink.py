"""One suite for every place that records go to; a new sink is one more entry in `SINKS`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from batchsnap.clock import LoopClock
from batchsnap.errors import IllegalMove, LedgerUnwritable
from batchsnap.ledger.ports import RecordSink
from batchsnap.ledger.replay import Fold
from batchsnap.ledger.store import Ledger
from batchsnap.lifecycle import State
from batchsnap.postgres import schema
from batchsnap.postgres.hold import Hold
from batchsnap.postgres.session import Session
from batchsnap.postgres.sink import QuotaSink
from tests.memory import MemoryStore
from tests.postgres import new_base, session_server
from tests.records import birth, moved


@asynccontextmanager
async def newborn(path: Path) -> AsyncIterator[RecordSink]:
    async with committing(Ledger.create(path, birth())) as ledger:
        yield ledger


@asynccontextmanager
async def reopened(path: Path) -> AsyncIterator[RecordSink]:
    Ledger.create(path, birth()).release()
    async with committing(Ledger.open(path)) as ledger:
        yield ledger


@asynccontextmanager
async def committing(ledger: Ledger) -> AsyncIterator[Ledger]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.commit)
        yield ledger
        ledger.close()
    ledger.release()


@asynccontextmanager
async def in_memory(path: Path) -> AsyncIterator[RecordSink]:
    yield MemoryStore().create(birth())


@asynccontextmanager
async def in_a_quota(path: Path) -> AsyncIterator[RecordSink]:
    """What the engine of one of many machines appends to, in a real PostgreSQL."""
    base = new_base(session_server())
    session = Session(base.address(), LoopClock(), lambda _: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.run)
        await session.call(lambda db: db.run(schema.TRY_LOCKS, [1]))
        await session.call(lambda db: db.run(schema.APPEND, [1], [1], ["{}"]))
        hold = Hold(1, 1, 1, session.clocks, "a quota")
        session.adopt(hold)
        fold = Fold()
        fold.apply(birth())
        yield QuotaSink(session, hold, fold, label="x", records=lambda: iter(()))
        session.drop(hold)
        session.close()


Sink = Callable[[Path], AbstractAsyncContextManager[RecordSink]]
SINKS: list[Sink] = [newborn, reopened, in_memory, in_a_quota]


@pytest.fixture(params=SINKS, ids=lambda sink: sink.__name__)
def sink_of(request: pytest.FixtureRequest) -> Sink:
    sink: Sink = request.param
    return sink


def test_a_record_is_in_the_fold_at_once_and_durable_when_awaited(
    sink_of: Sink, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with sink_of(tmp_path / "ledger") as sink:
            handle = sink.append(moved("intent"))
            assert sink.fold.standing("disk-00000001").state is State.SENT
            await sink.durable(handle)
            await sink.durable(handle)
            await sink.durable(sink.append(moved("accepted", snapshot_id="s")))
            assert sink.fold.standing("disk-00000001").state is State.ACCEPTED
            assert sink.failure is None

    anyio.run(scenario)


def test_an_illegal_record_is_refused_and_changes_nothing(sink_of: Sink, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sink_of(tmp_path / "ledger") as sink:
            sink.append(moved("intent"))
            for illegal in ("intent", "ready", "nonsense"):
                with pytest.raises(IllegalMove):
                    sink.append(moved(illegal))
            assert sink.fold.counts[State.SENT] == 1
            await sink.durable(sink.append(moved("unsent")))

    anyio.run(scenario)


def test_after_a_failure_nothing_is_taken_and_nothing_is_durable(
    sink_of: Sink, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with sink_of(tmp_path / "ledger") as sink:
            handle = sink.append(moved("intent"))
            await sink.durable(handle)
            sink.failure = LedgerUnwritable("gone")  # type: ignore[misc]
            with pytest.raises(LedgerUnwritable):
                sink.append(moved("accepted", snapshot_id="s"))
            with pytest.raises(LedgerUnwritable):
                await sink.durable(handle)
            assert sink.fold.standing("disk-00000001").state is State.SENT

    anyio.run(scenario)
