"""The first promise against a model of the cloud: the real engine on virtual time, killed at will.

hypothesis chooses what becomes of every call, when the process dies, what the disk had kept of
the ledger by then, and how the manifest is edited between lives. The model cloud makes snapshots
late and shows them late, within what a signature's life allows. Whatever is chosen: no row has two
snapshots unless a `doubled` record says so, and when a run ends well every row has one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batchsnap.ledger.gap import Gap
from batchsnap.ledger.record import encode
from batchsnap.ledger.replay import folded
from batchsnap.report.summary import summary_of
from tests.twin import FATES
from tests.virtual import run_virtual
from tests.world import World, header


@settings(
    max_examples=100,
    deadline=None,
    # Shrinking a run of minutes takes minutes itself; the example is printed as it was found.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    fates=st.lists(st.sampled_from((*FATES, "refused")), min_size=1, max_size=25),
    visible_after_s=st.sampled_from([0.0, 2.0, 20.0]),
    sync_s=st.sampled_from([0.004, 1.5]),
    kills=st.lists(st.floats(0.9, 90.0) | st.floats(1.0, 2.0), max_size=4),
    edits=st.lists(st.permutations(range(5)).map(lambda p: p[:4]), min_size=5, max_size=5),
    named=st.booleans(),
    steps=st.lists(st.sampled_from([0.0, 3600.0, -3600.0]), min_size=5, max_size=5),
    own_names=st.lists(st.sampled_from(["own", "own", "mended"]), min_size=5, max_size=5),
    retry_failed=st.booleans(),
    short=st.lists(st.sampled_from([0, 0, 0, 1, 9]), max_size=7),
)
def test_one_row_one_snapshot(
    tmp_path: Path,
    fates: list[str],
    visible_after_s: float,
    sync_s: float,
    kills: list[float],
    edits: list[list[int]],
    named: bool,
    steps: list[float],
    own_names: list[str],
    retry_failed: bool,
    short: list[int],
) -> None:
    world = World(tmp_path, [*fates, "ok", "ok", "ok"], visible_after_s, sync_s)
    world.cloud.short = short
    world.disk.append(encode(header))
    world.retry_failed = retry_failed

    async def main() -> None:
        for number, kill in enumerate(kills):
            world.own_name = own_names[number]
            await world.life(edits[number], named, kill, steps[number])
        await world.life([0, 1, 2, 3, 4], named, None, steps[-1])
        await asyncio.sleep(400)
        world.cloud.arrive()

    run_virtual(main(), world.loop)
    records = world.records()
    summed = folded(records)
    summary = summary_of(summed)
    doubled = {r["disk_id"] for r in records if r["event"] == "doubled"}

    assert world.ended
    if "very late" not in fates:
        assert not doubled
    for disk in world.rows:
        made = world.cloud.made[disk]
        # Where every list is short the last question is never answered, and the run says so.
        owed = bool(short) and summed.standing(disk).owed
        assert len(made) <= 1 or disk in doubled or owed, (disk, made)
    told = {r["snapshot_id"]: r["disk_id"] for r in records if r["event"] == "accepted"}
    there = {i: shown.disk_id for i, shown in world.cloud.snapshots.items()}
    assert told.items() <= there.items()
    for key in world.rows:
        if summed.standing(key).state == "accepted":
            assert world.cloud.made[key], key
    failed = summary.gave_up + summary.rejected
    assert summary.accepted + summary.in_doubt + failed + summary.deferred == 5


def test_the_model_can_double_where_nobody_looks_again(tmp_path: Path) -> None:
    """The model is no friend: a very late arrival does double, and is told."""
    world = World(tmp_path, ["very late", "ok", "ok", "ok", "ok", "ok"], 0.0)
    world.disk.append(encode(header))

    async def main() -> None:
        await world.life([0, 1, 2, 3, 4], False, None)

    run_virtual(main(), world.loop)
    records = world.records()

    assert max(len(made) for made in world.cloud.made.values()) == 2
    assert [r["event"] for r in records].count("doubled") == 1
    assert summary_of(folded(records)).doubled == 1


@settings(
    max_examples=50,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    fates=st.lists(st.sampled_from([f for f in FATES if f != "very late"]), max_size=15),
    visible_after_s=st.sampled_from([0.0, 20.0]),
    kills=st.lists(st.floats(1.0, 90.0) | st.floats(1.0, 2.0), min_size=1, max_size=3),
    kept=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    named=st.booleans(),
)
def test_a_ledger_put_back_to_an_older_copy_doubles_nothing(
    tmp_path: Path,
    fates: list[str],
    visible_after_s: float,
    kills: list[float],
    kept: list[float],
    named: bool,
) -> None:
    world = World(tmp_path, [*fates, "ok", "ok", "ok"], visible_after_s)
    world.disk.append(encode(header))

    async def main() -> None:
        for kill, share in zip(kills, kept, strict=False):
            await world.life([0, 1, 2, 3, 4], named, kill)
            del world.disk[1 + round(share * (len(world.disk) - 1)) :]
            world.gap = Gap.LOST
        await world.life([0, 1, 2, 3, 4], named, None)

    run_virtual(main(), world.loop)
    summed = folded(world.records())
    made = {disk: len(world.cloud.made[disk]) for disk in world.rows}
    assert max(made.values()) <= 1, made
    for key in world.rows:
        state = summed.standing(key).state
        assert state == "accepted" or (named and made[key] and state == "deferred"), key
