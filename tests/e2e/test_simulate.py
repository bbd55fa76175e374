"""The simulated cloud as others meet it: through the official SDK, and as a command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.cbs.v20170312 import cbs_client, models
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from batchsnap.simulator.resources import sample_fleet
from batchsnap.simulator.scenario import Scenario, preset
from batchsnap.simulator.server import EmbeddedSimulator
from tests.signed import DISK, HERE, SECRET_ID, SECRET_KEY


def quick(**values: Any) -> Scenario:
    return Scenario(latency_ms=0, creating_s=0, **values)


# Real clients.


def sdk(url: str, region: str = HERE) -> cbs_client.CbsClient:
    http = HttpProfile(protocol="http", endpoint=url.removeprefix("http://"))
    return cbs_client.CbsClient(
        Credential(SECRET_ID, SECRET_KEY), region, ClientProfile(httpProfile=http)
    )


def ask(kind: type, **values: Any) -> Any:
    request = kind()
    request.from_json_string(json.dumps(values))
    return request


def test_the_official_sdk_finds_its_way() -> None:
    fleet = list(sample_fleet(3))
    with EmbeddedSimulator(quick(), fleet=fleet) as simulator:
        api = sdk(simulator.url)
        disks = api.DescribeDisks(ask(models.DescribeDisksRequest)).DiskSet
        assert {d.DiskId for d in disks} == {disk for disk, _ in fleet}
        assert all(d.SnapshotAbility and d.Placement.Zone.startswith(HERE) for d in disks)
        tags = [{"Key": "run", "Value": "7"}]
        made = [
            api.CreateSnapshot(
                ask(models.CreateSnapshotRequest, DiskId=disk, SnapshotName="夜", Tags=tags)
            ).SnapshotId
            for disk, _ in fleet
        ]
        filters = [{"Name": "disk-id", "Values": [fleet[1][0]]}]
        found = api.DescribeSnapshots(ask(models.DescribeSnapshotsRequest, Filters=filters))
        assert [s.SnapshotId for s in found.SnapshotSet] == [made[1]]
        assert (found.SnapshotSet[0].SnapshotName, found.SnapshotSet[0].Percent) == ("夜", 100)
        api.DeleteSnapshots(ask(models.DeleteSnapshotsRequest, SnapshotIds=made[:2]))
        assert [s["snapshot_id"] for s in simulator.state()["snapshots"]] == made[2:]
        with pytest.raises(TencentCloudSDKException) as caught:
            api.CreateSnapshot(ask(models.CreateSnapshotRequest, DiskId="disk-zzzzzzzz"))
        assert caught.value.get_code() == "InvalidDiskId.NotFound"
        simulator.change(quick(bad_credentials=True))
        with pytest.raises(TencentCloudSDKException, match="SecretIdNotFound"):
            api.DescribeDisks(ask(models.DescribeDisksRequest))
    assert simulator.state(brief=True)["deleted"] == 2


def test_the_official_sdk_finds_every_field_that_it_knows() -> None:
    """A field that is missing is None to a client, which in these three the cloud says too."""
    may_be_none = {"DeadlineTime", "TimeStartShare", "AutoSnapshotPolicyIds"}
    with EmbeddedSimulator(quick(), fleet=[(DISK, HERE)]) as simulator:
        api = sdk(simulator.url)
        api.CreateSnapshot(ask(models.CreateSnapshotRequest, DiskId=DISK))
        [snapshot] = api.DescribeSnapshots(ask(models.DescribeSnapshotsRequest)).SnapshotSet
        [disk] = api.DescribeDisks(ask(models.DescribeDisksRequest)).DiskSet
    for found in (snapshot, disk):
        without = {name for name, value in vars(found).items() if value is None}
        assert {name.lstrip("_") for name in without} <= may_be_none
    assert (snapshot.AutoSnapshotPolicyId, snapshot.IsLocked) == ("", False)
    assert snapshot.LatestModifyTime == snapshot.CreateTime
    assert snapshot.SnapshotMode == "STANDARD_SNAPSHOT"
    assert (disk.EncryptType, disk.ErrorPrompt, disk.KmsKeyId) == ("", "", "")


def test_the_official_sdk_copies_to_another_region() -> None:
    there = "ap-beijing"
    with EmbeddedSimulator(quick(copying_s=0)) as simulator:
        api, elsewhere = sdk(simulator.url), sdk(simulator.url, there)
        source = api.CreateSnapshot(ask(models.CreateSnapshotRequest, DiskId=DISK)).SnapshotId
        simulator.change(quick(copying_s=0, lost_reply=1.0))
        wanted = ask(
            models.CopySnapshotCrossRegionsRequest,
            SnapshotId=source,
            DestinationRegions=[there, "ap-tokyo"],
            SnapshotName="copy",
        )
        with pytest.raises(TencentCloudSDKException):  # done, and the reply is lost
            api.CopySnapshotCrossRegions(wanted)
        simulator.change(quick(copying_s=0))
        answers = api.CopySnapshotCrossRegions(wanted).SnapshotCopyResultSet
        assert [(a.DestinationRegion, a.Code) for a in answers] == [
            (there, "Success"),
            ("ap-tokyo", "Success"),
        ]
        filters = [{"Name": "snapshot-name", "Values": ["copy"]}]
        found = elsewhere.DescribeSnapshots(ask(models.DescribeSnapshotsRequest, Filters=filters))
        assert answers[0].SnapshotId in {s.SnapshotId for s in found.SnapshotSet}
        assert [(s.SnapshotState, s.CopyFromRemote) for s in found.SnapshotSet] == [
            ("NORMAL", True)
        ] * 2
        with pytest.raises(TencentCloudSDKException) as caught:
            api.CopySnapshotCrossRegions(
                ask(
                    models.CopySnapshotCrossRegionsRequest,
                    SnapshotId="snap-zzzzzzzz",
                    DestinationRegions=[there],
                )
            )
        assert caught.value.get_code() == "InvalidSnapshotId.NotFound"
        counted = {quota["action"]: quota["calls"] for quota in simulator.state()["quotas"]}
        assert counted["CopySnapshotCrossRegions"] == 3


def test_a_taken_port_is_an_error_where_it_is_opened() -> None:
    with EmbeddedSimulator() as one:
        port = int(one.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), EmbeddedSimulator(port=port):
            pass


# The command.


def start(*args: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from batchsnap.cli.commands.simulate import command; command()",
            *args,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_listens_and_ends_when_told(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "fleet.csv").write_text(f"\ufeffDiskId,Region\n{DISK},{HERE}\n", "utf-8")
    (tmp_path / "s.json").write_text(json.dumps({"preset": "strict", "latency_ms": 0}))
    args = ("--scenario", "s.json", "--fleet", "fleet.csv", "--set", "creating_s=0")
    with start(*args, folder=tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        api = sdk(line.split()[-1])
        assert api.CreateSnapshot(ask(models.CreateSnapshotRequest, DiskId=DISK)).SnapshotId
        process.send_signal(number)
        _, talk = process.communicate(timeout=20)
        assert process.returncode == 0
    assert f"export TENCENTCLOUD_SECRET_ID={SECRET_ID}" in talk
    assert f"export BATCHSNAP_ENDPOINT={line.split()[-1]}" in talk


def test_the_command_in_json(tmp_path: Path) -> None:
    with start("--json", "--seed", "7", "--disks", "5", folder=tmp_path) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        process.terminate()
        process.communicate(timeout=20)
    assert where.keys() == {"url", "secret_id", "secret_key"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--scenario", "wild"), "no preset wild"),
        (("--scenario", "none.json"), "none.json"),
        (("--set", "busy"), "KEY=VALUE"),
        (("--set", "busy=9"), "from 0 to 1"),
        (("--fleet", "wrong.csv"), "no column Region"),
        (("--fleet", "wrong.csv", "--disks", "5"), "exclude"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(
    tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    (tmp_path / "wrong.csv").write_text("DiskId\ndisk-0000000a\n")
    with start(*args, folder=tmp_path) as process:
        _, talk = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said in talk


def test_presets_are_there_by_name() -> None:
    assert preset("lossy").lost_reply == 0.05
    assert preset("strict").latency_ms == 120
