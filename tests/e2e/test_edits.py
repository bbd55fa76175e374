"""A manifest mended between two runs: what the user says goes, once nothing older can turn up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.process import Cli, disk, sets, simulator, write_profile

FAST = ("--rate", "400", "--api-limit", "400", "--settle-for", "0.5s")
CALM = sets(cap_per_s=0, creating_s=0.0)


def write(folder: Path, *rows: str) -> None:
    (folder / "fleet.csv").write_text("\n".join(("DiskId,Region,SnapshotName", *rows)) + "\n")


def names(snapshots: list[dict[str, Any]]) -> dict[str, str]:
    return {snapshot["disk_id"]: snapshot["name"] for snapshot in snapshots}


def test_a_mended_name_is_sent(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, *CALM) as cloud:
        bad = {"match": {"disk_id": disk(0), "nth": 1}, "do": "error"}
        cloud.scenario(
            cap_per_s=0, creating_s=0.0, script=[{**bad, "code": "InvalidParameterValue"}]
        )
        write(tmp_path, f"{disk(0)},ap-tokyo,wrong", f"{disk(1)},ap-tokyo,right")
        first = cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        write(tmp_path, f"{disk(0)},ap-tokyo,mended", f"{disk(1)},ap-tokyo,right")
        again = cli.run("run", "fleet.csv", "--retry-failed", *FAST)

        assert (first.code, again.code) == (1, 0), again.err
        assert names(cloud.state()["snapshots"]) == {disk(0): "mended", disk(1): "right"}
    intents = [r for r in cli.records() if r["event"] == "intent" and r["key"] == disk(0)]
    assert [(r["snapshot_name"], r["attempt"]) for r in intents] == [("wrong", 1), ("mended", 2)]


def test_a_mended_region_is_no_error_and_is_sent(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, *CALM) as cloud:
        unknown = {"match": {"disk_id": disk(0), "region": "ap-tokyo"}, "do": "not_found"}
        cloud.scenario(cap_per_s=0, creating_s=0.0, script=[unknown])
        write(tmp_path, f"{disk(0)},ap-tokyo,", f"{disk(1)},ap-tokyo,")
        first = cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        write(tmp_path, f"{disk(0)},ap-seoul,", f"{disk(1)},ap-tokyo,", f"{disk(2)},ap-tokyo,")
        left = cli.run("run", "fleet.csv", *FAST)
        again = cli.run("run", "fleet.csv", "--retry-failed", "--json", *FAST)
        last = cli.run("run", "fleet.csv", "--json", *FAST)

        assert (first.code, left.code, again.code, last.code) == (1, 1, 0, 0), left.err
        assert again.json["accepted"] == 3
        made = {(s["disk_id"], s["region"]) for s in cloud.state()["snapshots"]}
    assert made == {(disk(0), "ap-seoul"), (disk(1), "ap-tokyo"), (disk(2), "ap-tokyo")}


def test_a_row_that_is_owed_an_answer_keeps_what_was_sent(cli: Cli, tmp_path: Path) -> None:
    write_profile(tmp_path, "other")
    with simulator(tmp_path, *CALM) as cloud:
        lost = {"match": {"disk_id": disk(0), "nth": 1}, "do": "lost_reply"}
        cloud.scenario(cap_per_s=0, creating_s=0.0, script=[lost])
        write(tmp_path, f"{disk(0)},ap-tokyo,mine")
        first = cli.run("run", "fleet.csv", "--max-duration", "2s", "--endpoint", cloud.url)
        assert first.code == 5, first.err

        write(tmp_path, f"{disk(0)},ap-tokyo,yours")
        renamed = cli.run("run", "fleet.csv", *FAST)
        write(tmp_path, f"{disk(0)},ap-seoul,mine")
        moved = cli.run("run", "fleet.csv", *FAST)
        write(tmp_path, f"{disk(0)},ap-tokyo,mine")
        of_other = cli.run("run", "fleet.csv", "--profile", "other", *FAST)
        assert (renamed.code, moved.code, of_other.code) == (2, 2, 2)
        assert "fleet.csv:2: SnapshotName:" in renamed.err
        assert "mine" in renamed.err
        assert "fleet.csv:2: Region:" in moved.err
        assert "ap-tokyo" in moved.err
        assert "fleet.csv:2: --profile:" in of_other.err
        assert cloud.state()["created"] == 1

        done = cli.run("run", "fleet.csv", "--json", *FAST)
        assert done.code == 0, done.err
        assert cloud.state()["created"] == 1


def test_rows_that_are_done_or_were_never_doubted_may_change_their_profile(
    cli: Cli, tmp_path: Path
) -> None:
    write_profile(tmp_path, "other")
    with simulator(tmp_path, *CALM) as cloud:
        busy = {"match": {"disk_id": disk(0), "nth": 1}, "do": "error"}
        cloud.scenario(
            cap_per_s=0, creating_s=0.0, script=[{**busy, "code": "InvalidParameterValue"}]
        )
        write(tmp_path, f"{disk(0)},ap-tokyo,", f"{disk(1)},ap-tokyo,")
        first = cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        again = cli.run("run", "fleet.csv", "--retry-failed", "--profile", "other", *FAST)

        assert (first.code, again.code) == (1, 0), again.err
    accepted = {r["key"]: r["profile"] for r in cli.records() if r["event"] == "accepted"}
    assert accepted == {disk(0): "other", disk(1): None}
