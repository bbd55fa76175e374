"""Copies in another region: one for each ready row, through lost replies and kills, and back."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.process import Cli, Cloud, disk, environment, sets, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
TO = "ap-beijing"
COPIES = f"{LEDGER}.copy-{TO}.jsonl"
FAST = ("--rate", "400", "--api-limit", "400", "-q", "--json")
OPEN = {
    "cap_per_s": 0,
    "creating_s": 0,
    "copying_s": 0,
    "caps": {"CopySnapshotCrossRegions": 0, "DescribeSnapshots": 0, "DescribeDisks": 0},
}


def there(cloud: Cloud) -> list[dict[str, Any]]:
    return [s for s in cloud.state()["snapshots"] if s["region"] == TO]


def here(cloud: Cloud) -> list[dict[str, Any]]:
    return [s for s in cloud.state()["snapshots"] if s["region"] != TO]


def made(cli: Cli, cloud: Cloud, rows: int, **more: Any) -> dict[str, str]:
    """A fleet with its snapshots; the environment of what follows."""
    write_fleet(cli.folder, rows, **more)
    env = {"BATCHSNAP_ENDPOINT": cloud.url, "BATCHSNAP_SETTLE_FOR": "1s"}
    assert cli.run("run", "fleet.csv", "--wait", *FAST, **env).code == 0
    return env


@pytest.mark.slow
def test_each_ready_row_is_copied_once_and_rolled_back_alone(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        env = made(cli, cloud, 40, regions=("ap-guangzhou", "ap-shanghai"))
        loud = [word for word in FAST if word != "-q"]
        copied = cli.run("copy", LEDGER, "--to", TO, "--wait", *loud, **env)
        sources = {s["snapshot_id"]: s for s in here(cloud)}
        copies = there(cloud)
        again = cli.run("copy", LEDGER, "--to", TO, "--wait", *FAST, **env)
        assert there(cloud) == copies
        status = cli.run("status", COPIES, "--json")
        told = cli.run("report", COPIES, "--format", "json").json["rows"]
        page = cli.run("report", COPIES, "--format", "html", "-o", "page.html")
        drawn = cli.run("report", LEDGER, "--format", "restore", **env)
        gone = cli.run("rollback", COPIES, "--yes", **env)

        assert copied.code == again.code == status.code == page.code == gone.code == 0, copied.err
        assert "Deadline" in copied.err
        assert copied.json["ready"] == status.json["ready"] == 40
        assert Counter(c["source_id"] for c in copies) == dict.fromkeys(sources, 1)
        assert all(c["deadline"] == "" for c in copies)
        by_copy = {c["snapshot_id"]: c["source_id"] for c in copies}
        assert {row["snapshot_id"]: row["source_id"] for row in told} == by_copy
        for line in csv.DictReader(drawn.out.splitlines()):
            assert by_copy[line["copy_id"]] == line["snapshot_id"]
            assert (line["copy_region"], line["copy_state"]) == (TO, "ready")
        text = (tmp_path / "page.html").read_text()
        assert all(i in text for i in (*by_copy, *sources))
        assert there(cloud) == []
        assert {s["snapshot_id"] for s in here(cloud)} == set(sources)


@pytest.mark.parametrize(
    "mishap", ["lost_reply", "error_5xx", "null_id", "internal_error", "truncated", "reset"]
)
def test_a_copy_in_doubt_is_settled_in_the_destination(
    cli: Cli, tmp_path: Path, mishap: str
) -> None:
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        env = made(cli, cloud, 12) | {"BATCHSNAP_SETTLE_FOR": "0.4s"}
        cloud.scenario(**OPEN, visible_after_s=0.3, **{mishap: 0.5})
        copied = cli.run("copy", LEDGER, "--to", TO, "--wait", *FAST, **env)

        assert copied.code == 0, copied.err
        assert copied.json["ready"] == 12
        assert set(Counter(c["source_id"] for c in there(cloud)).values()) == {1}
        assert len(there(cloud)) == 12
        records = cli.records(COPIES)
        assert any(r["event"] == "in_doubt" for r in records)
        assert all(TO in r["evidence"] for r in records if "evidence" in r and not r.get("final"))


def test_silence_of_who_does_not_see_the_sources_proves_nothing(cli: Cli, tmp_path: Path) -> None:
    """The cloud shows nothing to a wrong account: neither the copy nor its source."""
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        env = made(cli, cloud, 3)
        cloud.scenario(**OPEN, lost_reply=1.0, hides_snapshots=True)
        copied = cli.run(
            "copy", LEDGER, "--to", TO, "--retry-for", "2s", "--max-duration", "20s", *FAST, **env
        )

        assert copied.code == 5, copied.err
        assert copied.json["in_doubt"] == 3
        assert len(there(cloud)) == 3  # and not sent again
        assert "the source" in json.dumps(cli.records(COPIES))
        cloud.scenario(**OPEN)
        settled = cli.run("settle", COPIES, "--json", "-q", **env)
        assert (settled.code, settled.json["accepted"]) == (0, 3), settled.err


def test_a_call_that_arrives_late_makes_a_second_copy_which_is_told(
    cli: Cli, tmp_path: Path
) -> None:
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        env = made(cli, cloud, 3)
        late = {
            "match": {"action": "CopySnapshotCrossRegions", "nth": [1]},
            "do": "late",
            "seconds": 2.5,  # after the last look, before the signature is dead
        }
        cloud.scenario(**OPEN, script=[late])
        copied = cli.run("copy", LEDGER, "--to", TO, *FAST, **env)
        assert (copied.code, copied.json["doubled"], copied.json["accepted"]) == (1, 1, 3)
        doubled = next(r for r in cli.records(COPIES) if r["event"] == "doubled")
        twice = {c["snapshot_id"] for c in there(cloud) if c["source_id"] == doubled["source_id"]}
        assert len(there(cloud)) == 4
        assert set(doubled["snapshot_ids"]) == twice


def test_a_copy_is_awaited_where_it_is(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, *sets(**{**OPEN, "copying_s": 2.0})) as cloud:
        env = made(cli, cloud, 5)
        copied = cli.run("copy", LEDGER, "--to", TO, *FAST, **env)
        states = {copy["state"] for copy in there(cloud)}
        waited = cli.run("wait", COPIES, "--json", "-q", **env)

        assert (copied.code, copied.json["accepted"]) == (0, 5), copied.err
        assert states <= {"COPYING_FROM_REMOTE", "CHECKING_COPIED", "NORMAL"}
        assert (waited.code, waited.json["ready"]) == (0, 5), waited.err
        assert {copy["state"] for copy in there(cloud)} == {"NORMAL"}


def test_what_was_skipped_is_copied_too_and_a_burning_region_leaves_a_map(
    cli: Cli, tmp_path: Path
) -> None:
    night = "night.jsonl"
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        env = made(cli, cloud, 12)
        skip = ("--ledger", night, "--unless-newer-than", "12h")
        assert cli.run("run", "fleet.csv", *skip, *FAST, **env).json["skipped"] == 12
        copied = cli.run("copy", night, "--to", TO, "--wait", *FAST, **env)
        burning = {"match": {"action": "*", "region": "ap-guangzhou"}, "do": "error_5xx"}
        cloud.scenario(**OPEN, script=[burning])
        drawn = cli.run("report", night, "--format", "restore", **env)
        copies = {copy["snapshot_id"]: copy for copy in there(cloud)}

    assert (copied.code, copied.json["ready"]) == (0, 12), copied.err
    assert drawn.code == 5
    lines = list(csv.DictReader(drawn.out.splitlines()))
    assert {line["copy_id"] for line in lines} == set(copies)
    for line in lines:  # what is known in the other region is enough to rebuild by
        assert line["zone"] == ""
        usage = copies[line["copy_id"]]["usage"]
        assert (line["snapshot_usage"], line["size_gib"] != "") == (usage, True)
        assert line["becomes_disk"] == ("yes" if usage == "DATA_DISK" else "no")


def test_rows_that_are_not_ready_are_named_and_left(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        cloud.scenario(**OPEN, script=[{"match": {"disk_id": disk(3)}, "do": "not_found"}])
        write_fleet(tmp_path, 8, regions=("ap-guangzhou", TO))
        env = {"BATCHSNAP_ENDPOINT": cloud.url, "BATCHSNAP_SETTLE_FOR": "1s"}
        assert cli.run("run", "fleet.csv", "--wait", *FAST, **env).code == 1
        copied = cli.run("copy", LEDGER, "--to", TO, "--wait", *FAST, **env)

        assert copied.code == 0, copied.err
        assert f"1 rows are rejected, not ready, and are left: {disk(3)}" in copied.err
        assert f"3 snapshots are in {TO} already" in copied.err
        assert copied.json["rows"] == copied.json["ready"] == 4


def test_what_the_destination_or_the_source_refuses_is_a_verdict(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        env = made(cli, cloud, 6)
        ready = [r["snapshot_id"] for r in cli.records() if r["event"] == "ready"]
        gone = {
            "match": {"action": "CopySnapshotCrossRegions", "disk_id": ready[0]},
            "do": "error",
            "code": "InvalidSnapshotId.NotFound",
        }
        cloud.scenario(**OPEN, script=[gone], quota_snapshots=6)
        copied = cli.run("copy", LEDGER, "--to", TO, "--wait", *FAST, **env)
        assert (copied.code, copied.json["rejected"], copied.json["ready"]) == (1, 1, 5)
        code = next(r["code"] for r in cli.records(COPIES) if r["event"] == "rejected")
        assert code == "InvalidSnapshotId.NotFound"
        cloud.scenario(**OPEN, quota_snapshots=5)
        full = cli.run("copy", LEDGER, "--to", TO, "--retry-failed", *FAST, **env)
        assert (full.code, full.json["halted"][0]["code"]) == (3, "InsufficientSnapshotQuota")


def test_what_can_not_be_copied_is_said_before_anything_is_sent(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        env = made(cli, cloud, 2)
        assert cli.run("copy", LEDGER, "--to", TO, *FAST, **env).code == 0
        for words, code, said in (
            ((COPIES, "--to", "ap-tokyo"), 4, "ledger of copies"),
            ((LEDGER, "--to", "Beijing!"), 2, "--to"),
            (("postgresql://db/ops", "--to", TO), 2, "export"),
            (("nothing.jsonl", "--to", TO), 4, "nothing.jsonl"),
            ((LEDGER, "--to", "ap-guangzhou"), 2, "no row"),
        ):
            done = cli.run("copy", *words, *FAST, **env)
            assert (done.code, said in done.err) == (code, True), (words, done)
        assert cli.run("run", "fleet.csv", "--ledger", COPIES, **env).code == 4
        assert cli.run("report", COPIES, "--format", "restore", **env).code == 2
        failed = cli.run("report", COPIES, "--failed")
        assert (failed.code, "--retry-failed" in failed.err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "kills"), [(60, 2), pytest.param(300, 5, marks=pytest.mark.long)])
def test_copies_through_lost_replies_and_kills(
    cli: Cli, tmp_path: Path, rows: int, kills: int
) -> None:
    lossy = {"lost_reply": 0.08, "error_5xx": 0.04, "latency_ms": 20.0, "visible_after_s": 0.5}
    with simulator(tmp_path, *sets(**OPEN)) as cloud:
        env = made(cli, cloud, rows, regions=("ap-guangzhou", "ap-shanghai"))
        cloud.scenario(**OPEN, **lossy)
        words = ("copy", LEDGER, "--to", TO, "--wait", "--rate", "60", "--api-limit", "60", "-q")
        for kill in range(kills):
            process = subprocess.Popen(
                [sys.executable, "-m", "batchsnap", *words],
                cwd=tmp_path,
                env=environment(tmp_path, **env),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            most = (kill + 1) * rows // (kills + 1)
            cloud.wait_for(lambda state, most=most: len(of(state)) >= most, process)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        done = cli.run(*words, "--json", **env)
        sources = {s["snapshot_id"] for s in here(cloud)}
        copies = there(cloud)
        assert done.code == 0, done.err
        assert (done.json["ready"], done.json["doubled"]) == (rows, 0)
        assert Counter(c["source_id"] for c in copies) == dict.fromkeys(sources, 1)
        assert sum(r["event"] == "resumed" for r in cli.records(COPIES)) == kills
        assert cli.run("rollback", COPIES, "--yes", **env).code == 0
        assert there(cloud) == []
        assert {s["snapshot_id"] for s in here(cloud)} == sources


def of(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [s for s in state["snapshots"] if s["region"] == TO]
