"""What a list shows: filters, order, pages, late visibility; and what deletion takes from it."""

from __future__ import annotations

from typing import Any

import pytest

from batchsnap.simulator.world import World
from tests.simulated import DISK, HERE, NOW, listed, refusal, world


def fill(count: int = 250, **values: Any) -> tuple[World, list[str]]:
    w = world(creating_s=1, **values)
    ids = [
        w.create(HERE, {"DiskId": f"disk-{n:08d}", "SnapshotName": f"n{n}"}, NOW + n).snapshot_id
        for n in range(count)
    ]
    return w, ids


def test_pages_follow_each_other() -> None:
    w, ids = fill()
    now = NOW + 1000
    pages = [listed(w, now, Limit=100, Offset=offset) for offset in (0, 100, 200, 300)]
    assert [len(page) for page in pages] == [100, 100, 50, 0]
    assert [i for page in pages for i in page] == ids
    down = [listed(w, now, Limit=100, Offset=offset, Order="DESC") for offset in (0, 100, 200, 300)]
    assert [i for page in down for i in page] == ids[::-1]
    assert w.describe_snapshots(HERE, {}, now)["TotalCount"] == 250
    assert len(listed(w, now)) == 20
    assert listed(w, now, region="ap-tokyo") == []


@pytest.mark.parametrize(
    "body",
    [
        {"Limit": 101},
        {"Limit": 0},
        {"Offset": -1},
        {"Order": "UP"},
        {"OrderField": "SIZE"},
        {"Filters": [{"Name": "colour", "Values": ["red"]}]},
        {"Filters": [{"Name": "disk-id", "Values": [DISK] * 11}]},
    ],
)
def test_a_wrong_question_is_refused(body: dict[str, Any]) -> None:
    assert refusal(lambda: listed(world(), **body)) == "InvalidParameterValue"


def test_snapshot_filters_are_all_of_any() -> None:
    w, ids = fill()
    now = NOW + 249.5  # the last one is CREATING

    def found(*filters: tuple[str, list[str]]) -> list[str]:
        return listed(w, now, Filters=[{"Name": n, "Values": v} for n, v in filters], Limit=100)

    disks = ("disk-id", ["disk-00000003", "disk-00000001"])
    private = ("snapshot-type", ["PRIVATE_SNAPSHOT"])
    assert found(disks) == found(disks, private) == [ids[1], ids[3]]
    assert found(disks, ("snapshot-name", ["n3"])) == [ids[3]]
    assert found(("snapshot-name", ["n"])) == []
    assert found(("snapshot-state", ["CREATING"])) == [ids[249]]
    assert found(("snapshot-id", [ids[7], ids[5]])) == [ids[5], ids[7]]
    assert found(disks, ("snapshot-type", ["SHARED_SNAPSHOT"])) == []
    assert listed(w, now, SnapshotIds=[ids[9], "snap-none"]) == [ids[9]]
    usage = [("disk-usage", [u]) for u in ("DATA_DISK", "SYSTEM_DISK")]
    totals = [
        w.describe_snapshots(HERE, {"Filters": [{"Name": n, "Values": v}]}, now)["TotalCount"]
        for n, v in usage
    ]
    assert sum(totals) == 250


def test_a_snapshot_becomes_visible_late() -> None:
    w = world(visible_after_s=8, creating_s=0)
    made = w.create(HERE, {"DiskId": DISK}, NOW).snapshot_id
    by_disk = [{"Name": "disk-id", "Values": [DISK]}]
    for body in ({}, {"Filters": by_disk}, {"SnapshotIds": [made]}):
        assert listed(w, NOW + 7.9, **body) == []
        assert listed(w, NOW + 8, **body) == [made]
    assert len(w.snapshots(NOW)) == 1


# Deletion.


def test_deletion_is_all_or_nothing_and_of_normal_ones() -> None:
    w, ids = fill(5)
    now = NOW + 4.5
    for wrong, code in (
        ([ids[0], ids[4]], "InvalidSnapshot.NotSupported"),
        ([ids[0], "snap-none"], "InvalidSnapshotId.NotFound"),
        ([], "MissingParameter"),
    ):
        body = {"SnapshotIds": wrong}
        assert refusal(lambda body=body: w.delete(HERE, body, now)) == code
    elsewhere = {"SnapshotIds": ids[:1]}
    assert refusal(lambda: w.delete("ap-tokyo", elsewhere, now)) == "InvalidSnapshotId.NotFound"
    assert listed(w, now) == ids
    w.delete(HERE, {"SnapshotIds": [ids[0], ids[0], ids[2]]}, now)
    assert listed(w, now) == [ids[1], ids[3], ids[4]]
    assert w.deleted == 2


def test_a_hundred_thousand_snapshots_are_no_burden() -> None:
    w, ids = fill(100_000)
    now = NOW + 200_000
    private = [{"Name": "snapshot-type", "Values": ["PRIVATE_SNAPSHOT"]}]
    pages = [listed(w, now, Filters=private, Limit=100, Offset=n) for n in range(0, 100_000, 1000)]
    assert [page[0] for page in pages] == ids[::1000]
    for n in range(0, 100_000, 1000):
        w.delete(HERE, {"SnapshotIds": ids[n : n + 100]}, now)
    assert len(w.snapshots(now)) == 90_000
