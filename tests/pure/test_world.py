"""What exists and for how long, what may be asked, and what a wrong question is told."""

from __future__ import annotations

from typing import Any

import pytest

from batchsnap.simulator.account import Cloud
from batchsnap.simulator.requests import Refused, check
from batchsnap.simulator.resources import sample_fleet
from batchsnap.simulator.scenario import Kind, Scenario, Step
from batchsnap.simulator.world import World
from tests.simulated import DISK, HERE, NOW, listed, refusal, world

# Creation.


def test_a_snapshot_grows_and_becomes_normal() -> None:
    w = world(creating_s=10)
    made = w.create(HERE, {"DiskId": DISK, "SnapshotName": "n"}, NOW)

    def seen(after: float) -> tuple[str, int]:
        [item] = w.describe_snapshots(HERE, {}, NOW + after)["SnapshotSet"]
        assert item["SnapshotId"] == made.snapshot_id
        return item["SnapshotState"], item["Percent"]

    assert [seen(0), seen(5), seen(9.99)] == [("CREATING", 0), ("CREATING", 49), ("CREATING", 98)]
    assert seen(10) == ("NORMAL", 100)


def test_create_time_is_shanghai_wall_time_of_the_servers_clock() -> None:
    w = world(clock_offset_s=60)
    w.create(HERE, {"DiskId": DISK}, NOW)
    [item] = w.describe_snapshots(HERE, {}, NOW)["SnapshotSet"]
    assert item["CreateTime"] == "2026-01-01 08:01:00"
    assert (item["SnapshotName"], item["IsPermanent"], item["DeadlineTime"]) == (
        "Unnamed",
        True,
        None,
    )


def test_one_creation_at_a_time_per_disk() -> None:
    w = world(creating_s=10)
    w.create(HERE, {"DiskId": DISK}, NOW)
    again = {"DiskId": DISK}
    assert refusal(lambda: w.create(HERE, again, NOW + 9)) == "InvalidDisk.SnapshotCreating"
    w.create(HERE, {"DiskId": "disk-0000000b"}, NOW + 9)
    assert w.create(HERE, again, NOW + 10)
    assert w.created == 3


def test_ids_do_not_depend_on_order_and_are_never_used_again() -> None:
    one, two = world(creating_s=0), world(creating_s=0)
    disks = [f"disk-{n:08d}" for n in range(50)]
    first = {d: one.create(HERE, {"DiskId": d}, NOW).snapshot_id for d in disks}
    second = {d: two.create(HERE, {"DiskId": d}, NOW).snapshot_id for d in reversed(disks)}
    assert first == second
    one.delete(HERE, {"SnapshotIds": [first[disks[0]]]}, NOW + 1)
    assert one.create(HERE, {"DiskId": disks[0]}, NOW + 2).snapshot_id not in first.values()


def test_regions_have_quotas() -> None:
    w = world(quota_snapshots=1, creating_s=0)
    w.create(HERE, {"DiskId": DISK}, NOW)
    more = {"DiskId": "disk-0000000b"}
    assert refusal(lambda: w.create(HERE, more, NOW)) == "InsufficientSnapshotQuota"
    assert w.create("ap-tokyo", more, NOW)
    w.delete(HERE, {"SnapshotIds": listed(w)}, NOW)
    assert w.create(HERE, more, NOW)


def test_regions_bear_only_so_many_creations_at_once() -> None:
    w = world(max_creating=1, creating_s=5)
    w.create(HERE, {"DiskId": DISK}, NOW)
    more = {"DiskId": "disk-0000000b"}
    said = refusal(lambda: w.create(HERE, more, NOW + 4))
    assert said == "ResourceUnavailable.TooManyCreatingSnapshot"
    assert w.create(HERE, more, NOW + 5)


def test_a_failed_creation_disappears() -> None:
    w = world(vanish=1.0, creating_s=5)
    made = w.create(HERE, {"DiskId": DISK}, NOW)
    assert listed(w, NOW + 4) == [made.snapshot_id]
    assert listed(w, NOW + 5) == []
    assert (w.created, w.vanished, w.snapshots(NOW + 5)) == (1, 1, [])


# Copies.

THERE = "ap-beijing"


def copy_of(w: World, snapshot_id: str, now: float = NOW, *to: str, **body: Any) -> dict[str, Any]:
    asked = {"SnapshotId": snapshot_id, "DestinationRegions": list(to or (THERE,)), **body}
    [item, *_] = w.copy(HERE, asked, now)
    return item


def item_of(w: World, region: str, now: float) -> dict[str, Any]:
    [item] = w.describe_snapshots(region, {}, now)["SnapshotSet"]
    return item


def test_a_copy_comes_from_remote_is_checked_and_becomes_normal() -> None:
    w = world(creating_s=0, copying_s=10, visible_after_s=1)
    source = w.create(HERE, {"DiskId": DISK}, NOW).snapshot_id
    made = copy_of(w, source, NOW, SnapshotName="n")
    assert (made["DestinationRegion"], made["Code"]) == (THERE, "Success")
    assert listed(w, NOW + 0.5, THERE) == []  # shown as late as any snapshot
    seen = [
        (item["SnapshotState"], item["Percent"])
        for item in (item_of(w, THERE, NOW + after) for after in (1, 5, 9.5, 10))
    ]
    assert seen == [
        ("COPYING_FROM_REMOTE", 9),
        ("COPYING_FROM_REMOTE", 49),
        ("CHECKING_COPIED", 94),
        ("NORMAL", 100),
    ]
    copy = item_of(w, THERE, NOW + 10)
    assert (copy["SnapshotId"], copy["SnapshotName"]) == (made["SnapshotId"], "n")
    assert (copy["CopyFromRemote"], copy["IsPermanent"]) == (True, True)
    assert copy["Placement"]["Zone"].startswith(THERE)
    assert listed(w, NOW + 10) == [source]


def test_a_source_is_held_while_it_is_copied() -> None:
    w = world(creating_s=0, copying_s=10)
    source = w.create(HERE, {"DiskId": DISK}, NOW).snapshot_id
    copy_of(w, source)
    assert item_of(w, HERE, NOW + 9)["CopyingToRegions"] == [THERE]
    assert refusal(lambda: copy_of(w, source, NOW + 9)) == "ResourceInUse.CopySnapshotConflict"
    delete = {"SnapshotIds": [source]}
    assert refusal(lambda: w.delete(HERE, delete, NOW + 9)) == "InvalidSnapshot.NotSupported"
    assert copy_of(w, source, NOW + 9, "ap-tokyo")["Code"] == "Success"  # elsewhere it may go
    assert item_of(w, HERE, NOW + 10)["CopyingToRegions"] == ["ap-tokyo"]
    w.delete(HERE, delete, NOW + 19)
    assert len(listed(w, NOW + 19, THERE)) == 1  # the copy stays


def test_a_full_destination_is_told_inside_a_success() -> None:
    w = world(creating_s=0, copying_s=0, quota_snapshots=1)
    source = w.create(HERE, {"DiskId": DISK}, NOW).snapshot_id
    assert copy_of(w, source)["Code"] == "Success"
    full = copy_of(w, source)
    assert (full["Code"], full["SnapshotId"]) == ("InsufficientSnapshotQuota", "")


def test_what_can_not_be_copied() -> None:
    w = world(creating_s=10)
    source = w.create(HERE, {"DiskId": DISK}, NOW).snapshot_id
    for code, asked in {
        "UnsupportedOperation.SnapshotNotSupportCopy": lambda: copy_of(w, source),
        "InvalidSnapshotId.NotFound": lambda: copy_of(w, "snap-unknown0"),
        "InvalidParameterValue": lambda: copy_of(w, source, NOW, HERE),
        "MissingParameter": lambda: w.copy(HERE, {"SnapshotId": source}, NOW),
    }.items():
        assert refusal(asked) == code
    assert w.created == 1


def test_not_every_copy_shows_a_disk() -> None:
    """Nobody has told what DiskId a copy shows, so no client may rely on it."""
    w = world(creating_s=0, copying_s=0)
    for n in range(20):
        made = w.create(HERE, {"DiskId": f"disk-{n:08d}"}, NOW)
        copy_of(w, made.snapshot_id)
    shown = {s["DiskId"] for s in w.describe_snapshots(THERE, {}, NOW)["SnapshotSet"]}
    assert "" in shown
    assert len(shown) > 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MissingParameter"),
        ({"SnapshotName": "n"}, "MissingParameter"),
        ({"DiskId": ""}, "MissingParameter"),
        ({"DiskId": DISK, "SnapshotName": "é" * 31}, "InvalidParameterValue.LimitExceeded"),
        ({"DiskId": DISK, "DiskUsage": "SCRATCH"}, "InvalidParameterValue"),
        ({"DiskId": DISK, "Deadline": "2026-01-01T23:59:59+00:00"}, "InvalidParameterValue"),
        ({"DiskId": DISK, "Deadline": "2026-06-01T00:00:00"}, "InvalidParameterValue"),
        ({"DiskId": DISK, "Deadline": "soon"}, "InvalidParameterValue"),
        ({"DiskId": DISK, "Tags": [{"Key": "a"}]}, "InvalidParameter"),
        ({"DiskId": DISK, "Tags": [{"Key": "a", "Value": ""}]}, "InvalidParameterValue"),
        ({"DiskId": DISK, "Tags": [{"Key": "a", "Value": "b"}] * 2}, "InvalidParameterValue"),
        ({"DiskId": "vol-1"}, "InvalidParameterValue"),
        ({"DiskId": "disk-short"}, "InvalidDiskId.NotFound"),
        ({"DiskBackupId": "dbp-short"}, "ResourceNotFound.NotFound"),
    ],
)
def test_a_wrong_value_is_refused(body: dict[str, Any], code: str) -> None:
    assert refusal(lambda: world().create(HERE, body, NOW)) == code


def test_a_name_of_sixty_bytes_and_a_deadline_of_one_day_are_taken() -> None:
    deadline = "2026-01-02T00:00:00+00:00"
    body = {"DiskId": DISK, "SnapshotName": "é" * 30, "Deadline": deadline}
    w = world()
    w.create(HERE, body, NOW)
    [item] = w.describe_snapshots(HERE, {}, NOW)["SnapshotSet"]
    assert (item["DeadlineTime"], item["IsPermanent"]) == (deadline, False)


@pytest.mark.parametrize(
    ("action", "body", "code"),
    [
        ("CreateSnapshot", {"DiskId": DISK, "ClientToken": "t"}, "UnknownParameter"),
        ("CreateSnapshot", {"DiskId": DISK, "LocalSnap": False}, "UnknownParameter"),
        ("CreateSnapshot", {"DiskId": 5}, "InvalidParameter"),
        ("CreateSnapshot", {"DiskId": None}, "InvalidParameter"),
        ("CreateSnapshot", [], "InvalidParameter"),
        ("DescribeSnapshots", {"Limit": True}, "InvalidParameter"),
        ("DescribeSnapshots", {"SnapshotIds": [1]}, "InvalidParameter"),
        ("DescribeDisks", {"DiskIds": [DISK] * 101}, "InvalidParameterValue"),
        (
            "DescribeSnapshots",
            {"SnapshotIds": ["s"], "Filters": [{"Name": "disk-id", "Values": [DISK]}]},
            "InvalidParameter",
        ),
    ],
)
def test_a_wrong_body_is_refused(action: str, body: Any, code: str) -> None:
    assert refusal(lambda: check(action, body)) == code


def test_a_backup_point_becomes_a_snapshot_once() -> None:
    w = world(fleet=[(DISK, HERE)], creating_s=0)
    w.inventory.add_backup(HERE, "dbp-00000001", DISK)
    found = w.describe_backups(HERE, {"DiskBackupIds": ["dbp-00000001"]})
    assert [b["DiskId"] for b in found["DiskBackupSet"]] == [DISK]
    assert w.create(HERE, {"DiskBackupId": "dbp-00000001"}, NOW).disk.disk_id == DISK
    again = refusal(lambda: w.create(HERE, {"DiskBackupId": "dbp-00000001"}, NOW))
    assert again == "ResourceNotFound.NotFound"
    assert w.describe_backups(HERE, {})["TotalCount"] == 0


# Disks.


def test_without_a_fleet_every_well_formed_disk_exists_in_every_region() -> None:
    w = world()
    for region in (HERE, "ap-tokyo"):
        assert w.describe_disks(region, {"DiskIds": [DISK]})["TotalCount"] == 1
    assert w.describe_disks(HERE, {"DiskIds": ["disk-x"]})["TotalCount"] == 0


def test_with_a_fleet_only_its_disks_exist_and_only_in_their_region() -> None:
    w = world(fleet=[(DISK, HERE)])
    assert [d["DiskId"] for d in w.describe_disks(HERE, {})["DiskSet"]] == [DISK]
    for region, disk in ((HERE, "disk-0000000b"), ("ap-tokyo", DISK)):
        body = {"DiskId": disk}
        assert (
            refusal(lambda region=region, body=body: w.create(region, body, NOW))
            == "InvalidDiskId.NotFound"
        )
    assert world([(DISK, HERE)], unknown_disks="any").create("ap-tokyo", {"DiskId": DISK}, NOW)


def test_a_missing_disk_is_missing_everywhere() -> None:
    w = world(not_found=1.0)
    assert w.describe_disks(HERE, {"DiskIds": [DISK]})["TotalCount"] == 0
    assert refusal(lambda: w.create(HERE, {"DiskId": DISK}, NOW)) == "InvalidDiskId.NotFound"


def test_disk_filters_choose_what_they_name() -> None:
    w = world(fleet=list(sample_fleet(200)))
    everything = [
        item
        for offset in (0, 100)
        for item in w.describe_disks(HERE, {"Limit": 100, "Offset": offset})["DiskSet"]
    ]
    some = everything[0]

    def count(name: str, *values: str) -> int:
        body = {"Filters": [{"Name": name, "Values": list(values)}]}
        return int(w.describe_disks(HERE, body)["TotalCount"])

    prod = [d for d in everything if d["Tags"][0]["Value"] == "prod"]
    assert 0 < count("tag:env", "prod") == len(prod) < 200
    assert count("tag:nothing", "prod") == 0
    assert count("tag-key", "env", "nothing") == count("project-id", "0") == 200
    assert count("disk-usage", "DATA_DISK", "SYSTEM_DISK") == 200
    assert count("portable", "TRUE") == count("disk-usage", "DATA_DISK")
    assert count("zone", some["Placement"]["Zone"]) < 200
    assert count("disk-name", some["DiskName"]) == count("disk-id", some["DiskId"]) == 1
    assert count("disk-state", "ATTACHED", "UNATTACHED") == 200
    assert refusal(lambda: count("colour", "red")) == "InvalidParameterValue"


# The account.


def test_the_cloud_counts_per_action_and_key_then_decides() -> None:
    cloud = Cloud(Scenario(cap_per_s=2, script=(Step(Kind.BUSY, nth=(2,)),)))
    body = {"DiskId": DISK}
    kinds = [cloud.admit("CreateSnapshot", "A", HERE, body, NOW)[0].kind for _ in range(2)]
    assert kinds == ["ok", "busy"]
    with pytest.raises(Refused, match="`3` calls in one second, the limit is `2`"):
        cloud.admit("CreateSnapshot", "A", HERE, body, NOW)
    assert cloud.admit("CreateSnapshot", "B", HERE, body, NOW)[0].kind is Kind.OK
    assert cloud.admit("DescribeDisks", "A", HERE, {}, NOW)[0].kind is Kind.OK
    assert cloud.state(NOW)["faults"] == {"busy": 1}
    quota = cloud.state(NOW)["quotas"][0]
    assert (quota["calls"], quota["throttled"], quota["worst_second"]) == (3, 1, 3)
    assert quota["worst_second_accepted"] == 2


def test_throttled_calls_do_not_move_a_disks_fate() -> None:
    cloud = Cloud(Scenario(cap_per_s=1, script=(Step(Kind.HANG, disk_id=DISK, nth=(2,)),)))
    body = {"DiskId": DISK}
    cloud.admit("CreateSnapshot", "A", HERE, body, NOW)
    for _ in range(5):
        assert refusal(lambda: cloud.admit("CreateSnapshot", "A", HERE, body, NOW)) == (
            "RequestLimitExceeded"
        )
    assert cloud.admit("CreateSnapshot", "A", HERE, body, NOW + 2)[0].kind is Kind.HANG


def test_describe_disks_can_be_forbidden() -> None:
    cloud = Cloud(Scenario(no_describe_disks=True))
    outcome, _ = cloud.admit("DescribeDisks", "A", HERE, {}, NOW)
    assert outcome.code == "UnauthorizedOperation"
    assert "cvm:DescribeDisks" in outcome.message
    assert "cbs:DescribeDisks" in outcome.message


def test_the_state_names_doubles() -> None:
    cloud = Cloud(Scenario(creating_s=0))
    for disk, name in ((DISK, "x"), (DISK, "x"), (DISK, "y"), ("disk-0000000b", "x")):
        body = {"DiskId": disk, "SnapshotName": name}
        cloud.perform("CreateSnapshot", HERE, body, NOW)
    doubles = cloud.state(NOW)["duplicates"]
    assert [len(d["snapshot_ids"]) for d in doubles["by_disk"]] == [3]
    assert [(d["disk_id"], d["name"]) for d in doubles["by_name"]] == [(DISK, "x")]
    cloud.reset()
    assert cloud.state(NOW)["created"] == 0
