"""What is not seen yet is not gone, and what is gone from the manifest is still asked about."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.process import Cli, Cloud, disk, sets, simulator, write_fleet
from tests.signed import signed

FAST = ("--rate", "400", "--api-limit", "400", "--settle-for", "0.5s")
LEDGER = "fleet.csv.ledger.jsonl"


def test_a_rollback_waits_for_what_is_not_visible_yet(cli: Cli, tmp_path: Path) -> None:
    """Not shown is not gone: called vanished, it would be left, unpaid for by nobody's notice."""
    write_fleet(tmp_path, 6)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.0, visible_after_s=3.0)) as cloud:
        done = cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        rolled = cli.run("rollback", LEDGER, "--yes", "--json", "--settle-for", "8s")

        assert (done.code, rolled.code) == (0, 0), rolled.err
        assert rolled.json["deleted"] == 6
        assert cloud.state()["snapshots"] == []


def test_a_rollback_does_not_call_doubts_done(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 6)
    with simulator(tmp_path) as cloud:
        lost = {"match": {"disk_id": disk(2), "nth": 1}, "do": "lost_reply"}
        cloud.scenario(cap_per_s=0, creating_s=0.0, script=[lost])
        first = cli.run("run", "fleet.csv", "--max-duration", "2s", "--endpoint", cloud.url)
        rolled = cli.run("rollback", LEDGER, "--yes", "--json")
        assert (first.code, rolled.code) == (5, 5), rolled.err
        assert (rolled.json["deleted"], rolled.json["in_doubt"]) == (5, 1)
        assert "in doubt" in rolled.err
        settled = cli.run("settle", LEDGER, "--settle-for", "0.2s")
        again = cli.run("rollback", LEDGER, "--yes", "--json")

        assert (settled.code, again.code) == (0, 0), again.err
        assert cloud.state()["snapshots"] == []


def test_a_fresh_snapshot_is_not_called_vanished(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 4)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.2, visible_after_s=4.0)) as cloud:
        done = cli.run(
            *("run", "fleet.csv", "--json", "--wait", "--settle-for", "4.5s"),
            *("--endpoint", cloud.url),
        )

    assert done.code == 0, done.err
    assert (done.json["ready"], done.json["vanished"]) == (4, 0)


@pytest.mark.parametrize("second", ["lost_reply", "reset"])
def test_a_doubt_is_settled_though_its_row_is_gone_from_the_manifest(
    cli: Cli, tmp_path: Path, second: str
) -> None:
    """Without that the run could never end; and gone means that it is not sent again."""
    write_fleet(tmp_path, 4)
    with simulator(tmp_path) as cloud:
        script = [
            {"match": {"disk_id": disk(1), "nth": 1}, "do": "reset"},
            {"match": {"disk_id": disk(1), "nth": 2}, "do": second},
        ]
        cloud.scenario(cap_per_s=0, creating_s=0.0, script=script)
        process = cli.start("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        cloud.wait_for(lambda state: sum(state["faults"].values()) >= 2, process)
        process.kill()
        process.communicate()
        write_fleet(tmp_path, 1)
        done = cli.run("run", "fleet.csv", "--json", *FAST)
        again = cli.run("run", "fleet.csv", "--json")

        assert (done.code, again.code) == (0, 0), done.err
        assert cloud.per_disk().get(disk(1), 0) == (second == "lost_reply")
    story = [r["event"] for r in cli.records() if r.get("key") == disk(1)]
    assert story.count("intent") == 2
    assert (story[-1], story.count("accepted")) == ("settled", second == "lost_reply")


@pytest.mark.slow
def test_a_doubt_on_a_deleted_disk_ends_when_its_row_is_taken_out(cli: Cli, tmp_path: Path) -> None:
    """Silence about an unseen disk proves nothing while the row may still be sent; put back, it is
    asked about first."""
    write_fleet(tmp_path, 2)
    with simulator(tmp_path) as cloud:
        lost = {"match": {"disk_id": disk(1), "nth": [1, 2]}, "do": "reset"}
        cloud.scenario(cap_per_s=0, script=[lost])
        process = cli.start("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        cloud.wait_for(lambda state: state["faults"].get("reset", 0) >= 2, process)
        process.kill()
        process.communicate()
        cloud.scenario(not_found=1.0)
        with_row = cli.run("run", "fleet.csv")
        settled = cli.run("settle", LEDGER)
        write_fleet(tmp_path, 1)
        without = cli.run("run", "fleet.csv", "--json")

        assert (with_row.code, settled.code, without.code) == (5, 5, 0), without.err
        story = [r for r in cli.records() if r.get("key") == disk(1)]
        assert [r["event"] for r in story[-3:]] == ["settled", "gave_up", "settled"]
        assert story[-3]["evidence"].endswith("nor is the disk visible")
        write_fleet(tmp_path, 2)
        cloud.scenario(cap_per_s=0)
        back = cli.run("run", "fleet.csv", "--json")

        assert back.code == 0, back.err
        assert cloud.per_disk() == {disk(0): 1, disk(1): 1}
    story = [r for r in cli.records() if r.get("key") == disk(1)]
    assert [r["event"] for r in story[-5:]] == [
        *("in_doubt", "settled", "intent", "accepted", "settled")
    ]


def held_on_the_way(cloud: Cloud, records: list[dict[str, Any]], disk_id: str) -> None:
    """The disk's request arrives at last."""
    [name] = [
        r["snapshot_name"] for r in records if (r.get("key"), r["event"]) == (disk_id, "intent")
    ]
    body = json.dumps({"DiskId": disk_id, "SnapshotName": name}).encode()
    headers = signed(cloud.url.partition("//")[2], body=body)
    call = urllib.request.Request(cloud.url, body, headers, method="POST")
    with urllib.request.urlopen(call, timeout=10) as reply:
        assert "SnapshotId" in json.load(reply)["Response"]


def test_a_row_that_was_in_doubt_is_settled_before_its_deadline_refuses_it(
    cli: Cli, tmp_path: Path
) -> None:
    """Settled absent and not sent again: what arrived since is its snapshot all the same."""
    write_fleet(tmp_path, 2)
    with simulator(tmp_path) as cloud:
        lost = {"match": {"nth": [1, 2]}, "do": "reset"}
        cloud.scenario(cap_per_s=0, script=[lost])
        process = cli.start("run", "fleet.csv", "--endpoint", cloud.url)
        cloud.wait_for(lambda state: sum(state["faults"].values()) >= 2, process)
        process.kill()
        process.communicate()
        settled = cli.run("settle", LEDGER, "--json", "--settle-for", "0.2s")
        assert (settled.json["pending"], cloud.per_disk()) == (2, {}), settled.err
        held_on_the_way(cloud, cli.records(), disk(0))
        soon = (datetime.now(UTC) + timedelta(hours=2)).isoformat(timespec="seconds")
        rows = "".join(f"{disk(i)},ap-guangzhou,{soon}\n" for i in range(2))
        (tmp_path / "fleet.csv").write_text("DiskId,Region,Deadline\n" + rows)
        done = cli.run("run", "fleet.csv", "--json", *FAST)

        assert done.code == 1, done.err
        assert (done.json["accepted"], done.json["rejected"]) == (1, 1)
        assert cloud.per_disk() == {disk(0): 1}
    refused = [r for r in cli.records() if r["event"] == "rejected"]
    assert [(r["key"], r["code"]) for r in refused] == [(disk(1), "plan.deadline")]
