"""Bodies of the API: only known keys go out, and no shape that comes in raises or deceives."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.cloud import actions, pages
from batchsnap.model import PlannedRequest

BARE = PlannedRequest("k", 1, "disk-1", "", "ap-seoul", "p", "", False, "", "", ())


def body(data: bytes) -> Any:
    return orjson.loads(data)


def test_create_snapshot_says_only_what_is_there() -> None:
    assert body(actions.create_snapshot(BARE)) == {"DiskId": "disk-1"}
    full = BARE._replace(
        disk_backup_id="dbp-1",
        name="Name 名",
        deadline="2027-01-08T09:47:55+00:00",
        disk_usage="DATA_DISK",
        tags=(("team", "db"), ("env", "")),
    )
    assert body(actions.create_snapshot(full)) == {
        "DiskId": "disk-1",
        "DiskBackupId": "dbp-1",
        "SnapshotName": "Name 名",
        "Deadline": "2027-01-08T09:47:55+00:00",
        "DiskUsage": "DATA_DISK",
        "Tags": [{"Key": "team", "Value": "db"}, {"Key": "env", "Value": ""}],
    }


def test_copy_snapshot_names_one_destination() -> None:
    assert body(actions.copy_snapshot("snap-1", name="n", to="ap-seoul")) == {
        "SnapshotId": "snap-1",
        "SnapshotName": "n",
        "DestinationRegions": ["ap-seoul"],
    }


def test_describe_snapshots() -> None:
    page = {"Order": "ASC", "OrderField": "CREATE_TIME", "Offset": 100, "Limit": 100}
    assert body(actions.describe_snapshots(disk_ids=["disk-1", "disk-2"], offset=100)) == {
        "Filters": [
            {"Name": "disk-id", "Values": ["disk-1", "disk-2"]},
            {"Name": "snapshot-type", "Values": ["PRIVATE_SNAPSHOT"]},
        ],
        **page,
    }
    by_name = body(actions.describe_snapshots(names=["a", "b"], offset=100))
    assert by_name["Filters"][0] == {"Name": "snapshot-name", "Values": ["a", "b"]}
    by_id = body(actions.describe_snapshots(snapshot_ids=["snap-1"], offset=100))
    assert by_id == {"SnapshotIds": ["snap-1"], **page}


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"disk_ids": ["d"], "snapshot_ids": ["s"]},
        {"disk_ids": ["d"] * 11},
        {"names": ["n"] * 11},
    ],
)
def test_a_question_that_the_api_refuses(question: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"disk"):
        actions.describe_snapshots(**question)


def test_the_other_questions() -> None:
    page = {"Offset": 0, "Limit": 100}
    assert body(actions.describe_disks()) == page
    assert body(actions.describe_disks(disk_ids=("d",))) == {"DiskIds": ["d"], **page}
    by_tag = body(actions.describe_disks(filters=[("tag:team", ("a", "b"))]))
    assert by_tag == {"Filters": [{"Name": "tag:team", "Values": ["a", "b"]}], **page}
    with pytest.raises(ValueError, match="ids or by filters"):
        actions.describe_disks(disk_ids=("d",), filters=[("zone", ("z",))])
    assert body(actions.describe_disk_backups(backup_ids=["b"], limit=5)) == {
        "DiskBackupIds": ["b"],
        "Offset": 0,
        "Limit": 5,
    }
    assert body(actions.delete_snapshots(["s"])) == {"SnapshotIds": ["s"]}


def test_snapshot_page() -> None:
    items = [
        {
            "SnapshotId": "snap-1",
            "SnapshotName": "n",
            "DiskId": "disk-1",
            "SnapshotState": "CREATING",
            "Percent": 40,
            "DiskUsage": "DATA_DISK",
            "DiskSize": 50,
            "CreateTime": "2026-01-01 08:00:00",
            "New": {},
        },
        {"SnapshotId": "snap-2", "SnapshotName": None, "SnapshotState": "NORMAL", "Percent": None},
        {"SnapshotId": "snap-3", "Percent": "7"},
    ]
    assert pages.SNAPSHOTS.page({"TotalCount": 9, "SnapshotSet": items}) == (
        9,
        {
            snapshot[0]: snapshot
            for snapshot in (
                ("snap-1", "n", "disk-1", "CREATING", 40, "DATA_DISK", 50, "2026-01-01 08:00:00"),
                ("snap-2", "", "", "NORMAL", 100, "", 0, ""),
                ("snap-3", "", "", "", 0, "", 0, ""),
            )
        },
    )


def test_disk_page() -> None:
    item = {
        "DiskId": "disk-1",
        "DiskName": "db",
        "DiskUsage": "DATA_DISK",
        "DiskState": "ATTACHED",
        "SnapshotAbility": False,
        "InstanceId": "ins-1",
        "Placement": {"Zone": "ap-guangzhou-3", "ProjectId": 7},
        "DiskSize": 50,
        "SnapshotCount": 3,
        "Migrating": True,
        "Shareable": True,
        "Encrypt": True,
        "Attached": True,
        "DiskType": "CLOUD_SSD",
        "Tags": [{"Key": "team", "Value": "db"}, {"Key": "bare", "Value": None}, {"Key": 5}, None],
    }
    page = pages.DISKS.page({"TotalCount": 1, "DiskSet": [item]})
    assert page is not None
    assert page[1] == {
        "disk-1": pages.DiskFact(
            disk_id="disk-1",
            name="db",
            usage="DATA_DISK",
            state="ATTACHED",
            snapshot_ability=False,
            instance_id="ins-1",
            zone="ap-guangzhou-3",
            size_gib=50,
            snapshot_count=3,
            migrating=True,
            rollbacking=False,
            shareable=True,
            attached=True,
            disk_type="CLOUD_SSD",
        )
    }
    bare = pages.DISKS.page({"TotalCount": 1, "DiskSet": [{"DiskId": "disk-1"}]})
    assert bare is not None
    assert bare[1]["disk-1"].snapshot_ability
    assert bare[1]["disk-1"].zone == ""


def test_backup_page() -> None:
    item = {"DiskBackupId": "dbp-1", "DiskId": "disk-1", "DiskBackupState": "NORMAL"}
    page = {"TotalCount": 1, "DiskBackupSet": [item]}
    assert pages.BACKUPS.page(page) == (1, {"dbp-1": ("dbp-1", "disk-1", "NORMAL")})


@pytest.mark.parametrize(
    ("response", "page"),
    [
        ({"TotalCount": 0, "SnapshotSet": []}, (0, {})),
        ({"TotalCount": 0, "SnapshotSet": None}, (0, {})),
        ({"TotalCount": 0}, (0, {})),
        ({"TotalCount": 5, "SnapshotSet": []}, (5, {})),
        ({}, None),
        ({"TotalCount": 5}, None),
        ({"SnapshotSet": []}, None),
        ({"TotalCount": None, "SnapshotSet": []}, None),
        ({"TotalCount": True, "SnapshotSet": []}, None),
        ({"TotalCount": "0", "SnapshotSet": []}, None),
        ({"TotalCount": -1, "SnapshotSet": []}, None),
        ({"TotalCount": 1, "SnapshotSet": {}}, None),
        ({"TotalCount": 1, "SnapshotSet": [None]}, None),
        ({"TotalCount": 1, "SnapshotSet": [{}]}, None),
        ({"TotalCount": 1, "SnapshotSet": [{"SnapshotId": None}]}, None),
    ],
)
def test_what_is_half_understood_is_no_proof(response: dict[str, Any], page: Any) -> None:
    assert pages.SNAPSHOTS.page(response) == page


KEYS = ["TotalCount", "SnapshotSet", "DiskSet", "DiskBackupSet", "SnapshotId", "DiskId"]
KEYS += ["DiskBackupId", "Placement", "Zone", "Tags", "Key", "Value", "Percent", "DiskSize"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
def test_no_shape_raises(response: dict[str, Any]) -> None:
    for listing in (pages.SNAPSHOTS, pages.DISKS, pages.BACKUPS):
        page: Any = listing.page(response)
        assert page is None or page[0] >= 0


def test_every_action_has_its_published_rate() -> None:
    assert actions.RATES == {
        "CreateSnapshot": 20,
        "CopySnapshotCrossRegions": 20,
        "DeleteSnapshots": 20,
        "DescribeSnapshots": 20,
        "DescribeDisks": 100,
        "DescribeDiskBackups": 20,
    }
