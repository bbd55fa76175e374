"""The last question of a row that was sent again sees whatever a signature could still bring.

Absence is provisional: a request held on the way may be executed until its signature is dead, and
what it makes is visible later still. The real engine asks on virtual time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batchsnap.client.ports import Departure
from batchsnap.ledger.record import Record, encode
from batchsnap.ledger.replay import folded
from batchsnap.model import Fault, FaultKind, Reply
from batchsnap.report.summary import summary_of
from batchsnap.settings import Settings
from tests.twin import MemoryCloud
from tests.virtual import run_virtual
from tests.world import World, header


@pytest.mark.parametrize(
    ("held_s", "visible_after_s", "then"),
    [
        pytest.param(250.0, 20.0, ["ok"], id="well within its life"),
        pytest.param(299.5, 55.0, ["ok"], id="with its last breath, and seen late"),
        pytest.param(250.0, 55.0, ["busy"] * 3 + ["ok"], id="ours so fresh that it is not seen"),
        pytest.param(250.0, 55.0, ["unsent"] * 20 + ["ok"], id="after an outage"),
    ],
)
def test_a_second_snapshot_is_told(
    tmp_path: Path, held_s: float, visible_after_s: float, then: list[str]
) -> None:
    world = World(tmp_path, ["", *then, "ok", "ok"], visible_after_s)
    world.cloud.held_s = held_s
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0], False, None)
        await asyncio.sleep(400)
        world.cloud.arrive()

    run_virtual(main(), world.loop)
    records = world.records()

    [made] = [made for made in world.cloud.made.values() if made]
    assert len(made) == 2
    [doubled] = [r for r in records if r["event"] == "doubled"]
    assert set(doubled["snapshot_ids"]) == set(made)
    assert (summary_of(folded(records)).doubled, folded(records).owed) == (1, False)


class Behind(MemoryCloud):
    """Its clock is 200 s behind ours, so our signatures live so much longer."""

    ahead_s = 200.0

    async def send(
        self, request: Any, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        outcome = await super().send(request, timeout_s, start)
        date = 1_800_000_000.0 + self.loop.time() - self.ahead_s
        return outcome._replace(date=date) if isinstance(outcome, Reply) else outcome


@pytest.mark.parametrize("killed_after_s", [None, 100.0])
def test_a_fast_clock_lengthens_the_wait(tmp_path: Path, killed_after_s: float | None) -> None:
    """A signature that is dated ahead lives longer: the cloud's Date tells by how much, also a
    process that learns it from its last question only."""
    world = World(tmp_path, ["", "ok", "ok"], 0.0)
    world.cloud = Behind(world.loop, world.cloud.fates, 0.0)
    world.cloud.held_s = 480.0
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0], False, killed_after_s)
        if killed_after_s is not None:
            await world.life([0], False, None)
        world.cloud.arrive()

    run_virtual(main(), world.loop)
    records = world.records()

    assert [r["event"] for r in records].count("doubled") == 1


def test_a_short_settle_for_does_not_shorten_a_signatures_life(tmp_path: Path) -> None:
    world = World(tmp_path, ["", "ok", "ok"], 0.0)
    world.options = Settings(settle_for_s=5.0)
    world.cloud.held_s = 299.0
    world.disk.append(encode(header))

    run_virtual(world.life([0], False, None), world.loop)

    assert summary_of(folded(world.records())).doubled == 1


def test_the_last_question_is_asked_again_though_patience_is_short(tmp_path: Path) -> None:
    """--retry-for counts from when it is due: five minutes of waiting have not used it up."""

    class Mute(MemoryCloud):
        mute_from_s = 300.0
        refused = 0

        async def send(
            self, request: Any, timeout_s: float, start: Departure | None = None
        ) -> Reply | Fault:
            outcome = await super().send(request, timeout_s, start)
            if self.loop.time() < 1000.0 + self.mute_from_s or self.refused:
                return outcome
            self.refused += 1
            return Fault(FaultKind.CONNECT, False, "no line", 1.0)

    world = World(tmp_path, ["", "ok", "ok"], 0.0)
    world.options = Settings(retry_for_s=20.0)
    world.cloud = mute = Mute(world.loop, world.cloud.fates, 0.0)
    mute.held_s = 250.0
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0], False, None)

    run_virtual(main(), world.loop)
    records = world.records()

    assert mute.refused == 1
    assert [r["event"] for r in records].count("doubled") == 1


class Foreign(MemoryCloud):
    """While `blind`, the cloud as another account sees it."""

    blind = False

    async def send(
        self, request: Any, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        outcome = await super().send(request, timeout_s, start)
        if not self.blind:
            return outcome
        nothing = b'{"Response":{"TotalCount":0,"SnapshotSet":[],"DiskSet":[],"RequestId":"r"}}'
        return Reply(200, nothing, None, 50.0)


def test_the_last_question_is_not_answered_by_another_account(tmp_path: Path) -> None:
    """Who does not see the disk sees no snapshot of it either, and the answer stays owed."""
    world = World(tmp_path, ["", "ok", "ok"], 0.0)
    world.cloud = foreign = Foreign(world.loop, world.cloud.fates, 0.0)
    foreign.held_s = 250.0
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0], False, 100.0)
        foreign.blind = True
        await world.life([0], False, None)
        assert folded(world.records()).owed
        foreign.blind = False
        await world.life([0], False, None)

    run_virtual(main(), world.loop)
    summed = folded(world.records())

    assert (summary_of(summed).doubled, summed.owed) == (1, False)


@pytest.mark.parametrize("ends", [["vanished"], ["deleting"], ["deleting", "deleted"]])
def test_a_second_snapshot_is_told_though_the_rows_own_is_gone(
    tmp_path: Path, ends: list[str]
) -> None:
    """Whatever is found then is not the one that was accepted, be it only one."""
    world = World(tmp_path, ["", "ok", "ok"], 0.0)
    world.cloud.held_s = 250.0
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0], False, 100.0)
        accepted = world.records()[-1]
        assert accepted["event"] == "accepted"
        world.disk += [encode({**accepted, "event": event}) for event in ends]
        [own] = world.cloud.snapshots.values()
        own.at = float("inf")  # never shown again
        await world.life([0], False, None)

    run_virtual(main(), world.loop)
    records = world.records()

    [[own, late]] = world.cloud.made.values()
    [doubled] = [r for r in records if r["event"] == "doubled"]
    assert doubled["snapshot_ids"] == [late, own]


def renamed_after(tmp_path: Path, killed_after_s: float | None) -> tuple[World, list[Any]]:
    """A row that was lost, sent again and refused; then its name is mended."""
    world = World(tmp_path, ["reset", "refused", "ok", "ok"], 0.0)
    world.disk.append(encode(header))
    world.retry_failed = True

    async def main() -> None:
        await world.life([0], True, killed_after_s)
        world.own_name = "mended"
        await world.life([0], True, None)

    run_virtual(main(), world.loop)
    intents = [r for r in world.records() if r["event"] == "intent"]
    return world, [(r["snapshot_name"], r["attempt"]) for r in intents]


def test_a_row_may_be_renamed_once_its_last_question_is_answered(tmp_path: Path) -> None:
    world, intents = renamed_after(tmp_path, None)

    assert intents == [("own", 1), ("own", 2), ("mended", 3)]
    assert world.named_as == {0: "mended"}
    assert [shown.name for shown in world.cloud.snapshots.values()] == ["mended"]


def test_a_row_may_not_be_renamed_before(tmp_path: Path) -> None:
    world, intents = renamed_after(tmp_path, 200.0)

    assert intents == [("own", 1), ("own", 2), ("own", 3)]
    assert world.named_as == {0: "own"}


def test_a_last_question_about_a_disk_that_was_not_seen_is_asked_again(tmp_path: Path) -> None:
    """Its row had left the manifest, so that the run could end; put back, it is looked for."""
    world = World(tmp_path, ["", "ok", "refused", "ok"], 0.0)
    world.cloud = foreign = Foreign(world.loop, world.cloud.fates, 0.0)
    foreign.held_s = 250.0
    world.disk.append(encode(header))
    world.retry_failed = True
    gone: Record = {"event": "resumed", "at": header["at"], "manifest": {"rows": 1}}
    gone["manifest"]["gone"] = ["disk-00000000"]

    async def main() -> None:
        await world.life([0, 1], False, 150.0)
        world.disk.append(encode(gone))
        foreign.blind = True
        await world.life([1], False, None)
        foreign.blind = False
        world.disk.append(encode({**gone, "manifest": {"rows": 2}}))
        await world.life([0, 1], False, None)

    run_virtual(main(), world.loop)

    asked = [r for r in world.records() if r.get("final") and r["key"] == "disk-00000000"]
    assert asked[0]["code"] == "settle.disk_unseen"
    assert [len(made) for made in world.cloud.made.values()] == [1, 1]
    assert summary_of(folded(world.records())).accepted == 2
