"""How long an outage is endured, and what ends it: the real engine on virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsnap.ledger.record import Record, encode
from batchsnap.settings import Settings
from tests.virtual import run_virtual
from tests.world import World, header


def life(folder: Path, fates: list[str], rows: int, **options: float) -> tuple[World, float]:
    """One life against such a cloud; the world after it, and how many seconds it took."""
    world = World(folder, fates, 0.0)
    world.options = Settings(**options)  # type: ignore[arg-type]
    world.disk.append(encode(header))
    began = world.loop.time()
    run_virtual(world.life(list(range(rows)), False, None), world.loop)
    return world, world.loop.time() - began


def last(world: World) -> list[str]:
    """The last event of each row."""
    rows: dict[str, Record] = {r["key"]: r for r in world.records() if "key" in r}
    return [record["event"] for record in rows.values()]


@pytest.mark.parametrize("fate", ["unsent", "throttled"])
@pytest.mark.parametrize("rows", [1, 3, 12])
def test_retry_for_runs_from_the_first_fault_however_many_rows(
    tmp_path: Path, fate: str, rows: int
) -> None:
    world, took_s = life(tmp_path, [fate], rows, retry_for_s=5.0)

    assert world.ended
    assert 5.0 <= took_s < 8.0
    assert last(world) == ["deferred"] * rows


@pytest.mark.parametrize(
    ("settle_for_s", "asked_s"),
    [(1.0, 15.0), (60.0, 60.0), (600.0, 600.0)],  # a second is too short for a real cloud
)
def test_a_doubt_is_asked_about_before_the_run_gives_up(
    tmp_path: Path, settle_for_s: float, asked_s: float
) -> None:
    """`--retry-for` below `--settle-for`: the row gets its second try, and no third. A doubt is
    listened to as long as its cloud needs, whatever the option says."""
    given = {"retry_for_s": 5.0, "settle_for_s": settle_for_s}
    mended, _ = life(tmp_path, ["reset", "ok"], 1, **given)
    lost, took_s = life(tmp_path, ["reset"], 1, **given)

    assert mended.cloud.creates == 2
    assert len(mended.cloud.made["disk-00000000"]) == 1
    first, second = mended.cloud.asked("CreateSnapshot")
    assert asked_s <= second - first < asked_s + 10.0
    assert lost.cloud.creates == 2
    assert took_s < 2 * asked_s + 10.0


def test_snapshots_that_are_found_are_a_sign_of_life(tmp_path: Path) -> None:
    """Every reply is lost, every snapshot is made: not one row a minute, without end."""
    world, took_s = life(tmp_path, ["lost"], 60)

    assert last(world) == ["accepted"] * 60
    assert took_s < 60.0
