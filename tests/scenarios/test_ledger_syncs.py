"""Outcomes share a sync: written at once, synced with the next intent or soon; on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from batchsnap.client.ports import Departure
from batchsnap.ledger import disk
from batchsnap.ledger.disk import Scribe
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import encode
from batchsnap.ledger.store import SYNC_WITHIN_S, Ledger
from batchsnap.lifecycle import State
from batchsnap.model import Fault, Reply
from tests.records import birth, moved
from tests.twin import MemoryCloud
from tests.virtual import VirtualLoop, run_virtual
from tests.world import World, header

SYNC_S = 0.004


class Disk:
    """Counts the syncs of a file, and knows how much of it a power loss would leave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self.syncs: list[float] = []
        self.safe = 0

        async def inline(_scribe: Scribe, call: Callable[[], None]) -> None:
            before = len(self.syncs)
            call()
            await asyncio.sleep(SYNC_S * (len(self.syncs) - before))

        def sync(fd: int) -> None:
            self.syncs.append(asyncio.get_running_loop().time())
            self.safe = self.path.stat().st_size

        monkeypatch.setattr(Scribe, "do", inline)
        monkeypatch.setattr(disk, "sync_data", sync)

    def after_power_loss(self, torn: int) -> Ledger:
        """What the next process finds: all that was synced, and `torn` bytes of the rest."""
        left = self.path.with_name("left")
        left.write_bytes(self.path.read_bytes()[: self.safe + torn])
        return Ledger.open(left)


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch, tmp_path / "ledger")


@asynccontextmanager
async def newborn(counted: Disk) -> AsyncIterator[Ledger]:
    """A ledger that commits while the block runs."""
    ledger = Ledger.create(counted.path, birth())
    counted.safe = counted.path.stat().st_size
    commit = asyncio.ensure_future(ledger.commit())
    yield ledger
    ledger.close()
    await commit
    ledger.release()


def test_an_outcome_that_nobody_waits_for_outlives_a_kill_at_once_and_is_synced_in_time(
    counted: Disk,
) -> None:
    loop = VirtualLoop()

    async def scenario() -> None:
        async with newborn(counted) as ledger:
            await ledger.durable(ledger.append(moved("intent")))
            before, appended_at = len(counted.syncs), loop.time()
            ledger.append(moved("accepted", snapshot_id="s"))
            await asyncio.sleep(0.001)
            assert [r["event"] for r in records(counted.path)] == ["run", "intent", "accepted"]
            await asyncio.sleep(SYNC_WITHIN_S / 2)
            ledger.append(moved("ready"))  # a later one does not put it off
            assert len(counted.syncs) == before
            await asyncio.sleep(SYNC_WITHIN_S)
            (synced_at,) = counted.syncs[before:]
            assert SYNC_WITHIN_S <= synced_at - appended_at < SYNC_WITHIN_S + 2 * SYNC_S
            assert counted.safe == counted.path.stat().st_size
            await asyncio.sleep(10)
            assert len(counted.syncs) == before + 1  # nothing is owed one any more

    run_virtual(scenario(), loop)


def test_an_outcome_shares_the_sync_of_the_next_intent(counted: Disk) -> None:
    async def scenario() -> None:
        async with newborn(counted) as ledger:
            await ledger.durable(ledger.append(moved("intent", 1)))
            ledger.append(moved("accepted", 1, snapshot_id="s"))
            await asyncio.sleep(0.01)
            group = ledger.append(moved("intent", 2))
            await ledger.durable(group)
            assert len(counted.syncs) == 2
            assert counted.safe == counted.path.stat().st_size
            ledger.append(moved("accepted", 2, snapshot_id="t"))

    run_virtual(scenario(), VirtualLoop())
    assert [r["synced"] for r in list(records(counted.path))[1:]] == [0, 1, 1, 3]


def test_who_waits_later_and_who_closes_get_their_sync_at_once(counted: Disk) -> None:
    loop = VirtualLoop()

    async def scenario() -> None:
        async with newborn(counted) as ledger:
            group = ledger.append(moved("intent"))
            await asyncio.sleep(0.01)
            assert counted.syncs == []
            asked_at = loop.time()
            await ledger.durable(group)
            assert loop.time() - asked_at < 2 * SYNC_S
            ledger.append(moved("accepted", snapshot_id="s"))
            await asyncio.sleep(0.01)
            closed_at = loop.time()
        assert loop.time() - closed_at < 2 * SYNC_S
        assert counted.safe == counted.path.stat().st_size

    run_virtual(scenario(), loop)


@pytest.mark.parametrize("seed", range(20))
def test_power_loss_makes_doubts_and_forgets_no_row_that_may_have_been_sent(
    counted: Disk, seed: int
) -> None:
    rand = random.Random(seed)
    sent: set[int] = set()

    async def row(ledger: Ledger, number: int) -> None:
        await asyncio.sleep(rand.uniform(0, 1))
        await ledger.durable(ledger.append(moved("intent", number)))
        sent.add(number)
        await asyncio.sleep(rand.expovariate(1 / 0.12))
        ledger.append(moved("accepted", number, snapshot_id=f"s-{number}"))

    async def scenario() -> None:
        async with newborn(counted) as ledger:
            rows = [asyncio.ensure_future(row(ledger, number)) for number in range(20)]
            for _ in range(12):
                await asyncio.sleep(0.1)
                unsynced = counted.path.stat().st_size - counted.safe
                left = counted.after_power_loss(rand.randint(0, unsynced))
                for number in sent:
                    state = left.fold.standing(f"disk-{number:08x}").state
                    assert state in {State.SENT, State.ACCEPTED}, number
                left.release()
            await asyncio.gather(*rows)

    run_virtual(scenario(), VirtualLoop())


class Distant(MemoryCloud):
    """Answers after a tenth of a second or two."""

    async def send(
        self, request: Any, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        outcome = await super().send(request, timeout_s, start)
        await asyncio.sleep(self.rand.lognormvariate(-2.7, 0.5))
        return outcome

    rand = random.Random(7)


def test_a_row_at_the_cap_costs_a_third_of_a_sync(counted: Disk, tmp_path: Path) -> None:
    world, rows = World(tmp_path, ["ok"], 0.0), 400
    world.cloud = Distant(world.loop, ["ok"], 0.0)
    world.disk.append(encode(header))
    ledger = Ledger.create(counted.path, header)
    world.sink_of = lambda fold: ledger

    run_virtual(world.life(list(range(rows)), False, None), world.loop)

    assert ledger.fold.counts[State.ACCEPTED] == rows
    assert len(counted.syncs) <= 0.35 * rows, len(counted.syncs) / rows
    ledger.release()
