"""The last question where a row's own snapshot is not shown under its name: one silence ends
nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchsnap.ledger.record import Record, encode
from batchsnap.ledger.replay import folded
from batchsnap.lifecycle import State
from tests.virtual import run_virtual
from tests.world import World, header

DISK = "disk-00000000"


def sent_twice(folder: Path, then: Any, ends: list[str]) -> tuple[World, list[Record]]:
    """A row that was settled absent, sent again and accepted; `then` changes the cloud after it
    (called with the world and the row's snapshot), `ends` are events of that row since."""
    world = World(folder, ["reset", "ok"], 0.0)
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0], False, 100.0)
        accepted = world.records()[-1]
        assert accepted["event"] == "accepted"
        world.disk += [encode({**accepted, "event": event}) for event in ends]
        then(world, accepted["snapshot_id"])
        await world.life([0], False, None)

    run_virtual(main(), world.loop)
    records = world.records()
    assert not folded(records).owed
    return world, records


def rename(world: World, snapshot_id: str, name: str = "renamed-by-hand") -> None:
    world.cloud.snapshots[snapshot_id].name = name


def lose(world: World, snapshot_id: str) -> None:
    world.cloud.snapshots.clear()


def hide(world: World, snapshot_id: str) -> None:
    """Neither the disk's list nor the question by id shows it until after the first look."""
    made = dict(world.cloud.snapshots)
    world.cloud.snapshots.clear()
    world.loop.call_later(370.0, world.cloud.snapshots.update, made)


def test_a_renamed_snapshot_is_told_and_not_gone(tmp_path: Path) -> None:
    _, records = sent_twice(tmp_path, rename, [])

    assert (records[-1]["found"], records[-1]["final"]) == (True, True)
    assert records[-1]["evidence"].endswith("is there, renamed to renamed-by-hand")
    assert folded(records).standing(DISK).state is State.ACCEPTED


def test_a_snapshot_that_is_not_found_by_its_id_is_gone_after_the_whole_schedule(
    tmp_path: Path,
) -> None:
    _, records = sent_twice(tmp_path, lose, [])

    [vanished] = [r for r in records if r["event"] == "vanished"]
    [settled] = [r for r in records if r.get("final")]
    assert settled["evidence"] == f"{vanished['snapshot_id']} is gone"
    assert folded(records).standing(DISK).state is State.VANISHED


def test_one_silence_does_not_end_it(tmp_path: Path) -> None:
    world, records = sent_twice(tmp_path, hide, [])

    assert len(world.cloud.made[DISK]) == 1
    assert not [r for r in records if r["event"] == "vanished"]
    assert folded(records).standing(DISK).state is State.ACCEPTED


@pytest.mark.parametrize("ends", [["deleting"], ["deleting", "deleted"], ["vanished"]])
def test_what_was_deleted_is_not_sought(tmp_path: Path, ends: list[str]) -> None:
    _, records = sent_twice(tmp_path, lose, ends)

    assert [r["event"] for r in records].count("vanished") == ends.count("vanished")
    assert records[-1]["evidence"] == "0 of this name: []"
    assert folded(records).standing(DISK).state == ends[-1]
