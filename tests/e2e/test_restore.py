"""The restore map: what the person needs who rebuilds the disks, held against the cloud itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from batchsnap.simulator.resources import Disk
from tests.process import Cli, disk, sets, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
FAST = ("--rate", "400", "--api-limit", "400")
REGIONS = ("ap-guangzhou", "ap-shanghai")
ROWS = 300


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


def looks(disk_id: str, region: str) -> dict[str, Any]:
    return Disk(disk_id, region, 0).to_api(1)


@pytest.mark.slow
def test_a_map_of_300_rows_is_what_the_cloud_has(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, ROWS, regions=REGIONS)
    caps = {"DescribeSnapshots": 0, "DescribeDisks": 0}
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0, caps=caps)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url}
        assert cli.run("run", "fleet.csv", "--wait", "-q", *FAST, **env).code == 0
        drawn = cli.run("report", LEDGER, "--format", "restore", "-o", "map.csv", **env)
        told = cli.run("report", LEDGER, "--format", "restore-json", **env)
        made = {s["disk_id"]: s for s in cloud.state()["snapshots"]}

    assert drawn.code == told.code == 0, drawn.err
    lines = read(tmp_path / "map.csv")
    assert [line["disk_id"] for line in lines] == [disk(i) for i in range(ROWS)]
    assert len({line["name"] for line in lines}) == ROWS
    for line in lines:
        there = looks(line["disk_id"], line["region"])
        usage = made[line["disk_id"]]["usage"]
        assert line["name"] == line["disk_id"].replace("-", "_")
        assert line["snapshot_id"] == made[line["disk_id"]]["snapshot_id"]
        assert line["region"] == made[line["disk_id"]]["region"]
        assert (line["disk_name"], line["disk_type"]) == (there["DiskName"], there["DiskType"])
        assert (line["zone"], line["instance_id"]) == (
            there["Placement"]["Zone"],
            there["InstanceId"],
        )
        assert (line["size_gib"], line["usage"]) == (str(there["DiskSize"]), there["DiskUsage"])
        assert line["snapshot_usage"] == usage == there["DiskUsage"]
        assert line["becomes_disk"] == ("yes" if usage == "DATA_DISK" else "no")
    assert {line["becomes_disk"] for line in lines} == {"yes", "no"}
    assert "system disk" in drawn.err
    assert json.loads(told.out)["rows"] == lines


def test_the_usage_of_the_snapshot_decides_and_not_that_of_its_disk(
    cli: Cli, tmp_path: Path
) -> None:
    write_fleet(tmp_path, 40)
    fleet = tmp_path / "fleet.csv"
    header, *rows = fleet.read_text().splitlines()
    with_usage = [f"{header},DiskUsage", *(f"{row},DATA_DISK" for row in rows)]
    fleet.write_text("\n".join(with_usage) + "\n")
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url}
        assert cli.run("run", "fleet.csv", "-q", *FAST, **env).code == 0
        assert cli.run("report", LEDGER, "--format", "restore", "-o", "map.csv", **env).code == 0

    lines = read(tmp_path / "map.csv")
    assert {line["usage"] for line in lines} == {"SYSTEM_DISK", "DATA_DISK"}
    assert {line["becomes_disk"] for line in lines} == {"yes"}


def test_what_nobody_told_is_said_and_left_empty(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 20, regions=REGIONS)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url}
        assert cli.run("run", "fleet.csv", "-q", *FAST, **env).code == 0
        burning = {"match": {"action": "*", "region": REGIONS[0]}, "do": "error_5xx"}
        cloud.scenario(cap_per_s=0, script=[burning])
        drawn = cli.run("report", LEDGER, "--format", "restore", **env)

    assert drawn.code == 5
    assert f"not told: {REGIONS[0]}: http.502" in drawn.err
    lines = list(csv.DictReader(drawn.out.splitlines()))
    assert len(lines) == 20
    for line in lines:
        dark = line["region"] == REGIONS[0]
        assert line["snapshot_id"]
        assert (line["zone"] == "", line["becomes_disk"] == "unknown") == (dark, dark)


def test_plan_online_warns_of_system_disks(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 8)
    system = [i for i in range(8) if looks(disk(i), REGIONS[0])["DiskUsage"] == "SYSTEM_DISK"]
    assert len(system) in range(2, 8)
    fleet = tmp_path / "fleet.csv"
    rows = [f"{disk(i)},ap-guangzhou," + "DATA_DISK" * (i == system[0]) for i in range(8)]
    fleet.write_text("\n".join(["DiskId,Region,DiskUsage", *rows]) + "\n")
    with simulator(tmp_path) as cloud:
        planned = cli.run("plan", "fleet.csv", "--online", BATCHSNAP_ENDPOINT=cloud.url)

    assert planned.code == 0, planned.err
    warned = [line for line in planned.err.splitlines() if "DiskUsage=DATA_DISK" in line]
    assert len(warned) == len(system) - 1
    assert all(disk(i) in " ".join(warned) for i in system[1:])
