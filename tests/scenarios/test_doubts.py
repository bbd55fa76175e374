"""Doubts that end badly, or late: the real engine on virtual time, against the model cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchsnap.ledger.record import encode
from batchsnap.ledger.replay import folded
from batchsnap.model import Fault, Reply
from batchsnap.report.summary import summary_of
from batchsnap.settings import Settings
from tests.twin import MemoryCloud, refusal
from tests.virtual import run_virtual
from tests.world import World, header


class RefusingCloud(MemoryCloud):
    """Refuses every creation with one code, by default one that nobody knows."""

    code = "Foo.Bar"

    async def _create(self, body: dict[str, Any], timeout_s: float) -> Reply | Fault:
        self.creates += 1
        return refusal(self.code)


def test_rows_that_are_all_refused_after_a_doubt_halt_their_region(tmp_path: Path) -> None:
    """The refusals that halt are themselves of rows that were in doubt."""
    world = World(tmp_path, ["ok"], 0.0)
    world.cloud = RefusingCloud(world.loop, ["ok"], 0.0)
    world.disk.append(encode(header))

    run_virtual(world.life(list(range(30)), False, None), world.loop)
    records = world.records()

    assert world.ended
    assert {(r["code"], r["scope"]) for r in records if r["event"] == "halted"} == {
        ("Foo.Bar", "region")
    }
    last = {r["key"]: r["event"] for r in records if "key" in r and not r.get("final")}
    assert list(last.values()).count("deferred") >= 10
    assert not {"in_doubt", "rejected"} & set(last.values())


def test_rows_that_are_all_refused_after_a_doubt_are_refused_where_there_are_no_others(
    tmp_path: Path,
) -> None:
    """Each was tried and has its own answer, and each is asked about before that is said."""
    world = World(tmp_path, ["ok"], 0.0)
    world.cloud = RefusingCloud(world.loop, ["ok"], 0.0)
    world.disk.append(encode(header))

    run_virtual(world.life(list(range(6)), False, None), world.loop)
    records = world.records()

    last = {r["key"]: r["event"] for r in records if "key" in r and not r.get("final")}
    assert list(last.values()) == ["rejected"] * 6
    for key in last:
        moves = [r["event"] for r in records if r.get("key") == key]
        assert moves[-4:-1] == ["in_doubt", "settled", "rejected"], moves


@pytest.mark.parametrize(
    ("code", "event"), [("InvalidDisk.Busy", "gave_up"), ("Foo.Bar", "rejected")]
)
def test_a_row_that_failed_and_waits_for_its_last_question_is_taken_up_once(
    tmp_path: Path, code: str, event: str
) -> None:
    """It is a doubt that is sent again, not beside that a row that only awaits an answer."""
    world = World(tmp_path, ["reset", "ok"], 0.0)
    world.options = Settings(retry_for_s=30.0)
    world.retry_failed = True
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0], False, 10.0)
        calm, world.cloud = world.cloud, RefusingCloud(world.loop, ["ok"], 0.0)
        world.cloud.code = code
        await world.life([0], False, 250.0)
        assert [r["event"] for r in world.records()][-1] == event
        world.cloud = calm
        await world.life([0], False, None)

    run_virtual(main(), world.loop)
    summed = folded(world.records())

    assert (summary_of(summed).accepted, summed.owed) == (1, False)
    assert [r.get("final", False) for r in world.records()].count(True) == 1
