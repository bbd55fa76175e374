"""--unless-newer-than: only what is stale is made, and a lost ledger costs nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.process import Cli, disk, sets, simulator, write_fleet

FAST = ("--rate", "400", "--api-limit", "400", "-q", "--json")
OPEN = {"cap_per_s": 0, "creating_s": 0, "caps": {"DescribeSnapshots": 0, "DescribeDisks": 0}}
SKIP = ("--unless-newer-than", "12h")


@pytest.mark.slow
def test_the_second_night_makes_only_what_is_stale(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60, name="stale.csv")
    write_fleet(tmp_path, 100)
    fresh = [f"{disk(i)},ap-guangzhou" for i in range(60, 90)]  # and ten never snapshotted
    (tmp_path / "fresh.csv").write_text("\n".join(["DiskId,Region", *fresh]) + "\n")
    # The cloud's clock tells when a snapshot was made, and our signatures follow its Date.
    with simulator(tmp_path, *sets(**OPEN, clock_offset_s=-13 * 3600)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url}
        assert cli.run("run", "stale.csv", *FAST, **env).code == 0
        cloud.scenario(**OPEN)
        assert cli.run("run", "fresh.csv", *FAST, **env).code == 0
        night = cli.run("run", "fleet.csv", "--wait", *SKIP, *FAST, **env)
        told = cli.run("report", "fleet.csv.ledger.jsonl", "--format", "json").json["rows"]
        made = cloud.state()["snapshots"]
        again = cli.run("run", "fleet.csv", *FAST, **env)
        gone = cli.run("rollback", "fleet.csv.ledger.jsonl", "--yes", **env)
        left = cloud.per_disk()

    assert night.code == again.code == 0, night.err
    assert (night.json["ready"], night.json["skipped"]) == (70, 30)
    assert Counter(s["disk_id"] for s in made) == {disk(i): 1 + (i < 60) for i in range(100)}
    by_id = {s["snapshot_id"]: s["disk_id"] for s in made}
    skipped = {row["disk_id"]: row["snapshot_id"] for row in told if row["state"] == "skipped"}
    assert set(skipped) == {disk(i) for i in range(60, 90)}
    assert all(by_id[snapshot_id] == disk_id for disk_id, snapshot_id in skipped.items())
    assert gone.code == 0, gone.err
    assert left == {disk(i): 1 for i in range(90)}  # what was skipped is not ours to delete


def test_a_lost_ledger_is_made_up_for(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 80)
    with simulator(tmp_path, *sets(**OPEN, not_found=0.4)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url}
        first = cli.run("run", "fleet.csv", *FAST, **env)
        made = cloud.per_disk()
        (tmp_path / "fleet.csv.ledger.jsonl").unlink()
        cloud.scenario(**OPEN)
        second = cli.run("run", "fleet.csv", *SKIP, *FAST, **env)

        assert first.code == 1
        assert 0 < len(made) < 80
        assert second.code == 0, second.err
        assert second.json["skipped"] == len(made)
        assert cloud.per_disk() == {disk(i): 1 for i in range(80)}


def test_a_row_that_may_have_been_sent_is_settled_and_not_skipped(cli: Cli, tmp_path: Path) -> None:
    """Its own snapshot is young, too: it is this run's, which a rollback must know."""
    write_fleet(tmp_path, 1)
    with simulator(tmp_path, *sets(**OPEN, lost_reply=1.0)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url, "BATCHSNAP_SETTLE_FOR": "1s"}
        done = cli.run("run", "fleet.csv", *SKIP, *FAST, **env)

    assert done.code == 0, done.err
    assert (done.json["accepted"], done.json["skipped"]) == (1, 0)


@pytest.mark.slow
def test_a_row_that_was_in_doubt_is_never_skipped(cli: Cli, tmp_path: Path) -> None:
    """Settled absent and deferred: what was sent for it may turn up, so it goes its own way."""
    write_fleet(tmp_path, 1)
    write_fleet(tmp_path, 1, name="others.csv")
    script = [
        {"match": {"disk_id": disk(0), "nth": [1]}, "do": "reset"},
        {"match": {"disk_id": disk(0)}, "do": "busy"},
    ]
    with simulator(tmp_path, *sets(**OPEN, script=script)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url, "BATCHSNAP_SETTLE_FOR": "1s"}
        short = ("--retry-for", "30s", "--max-duration", "4s")
        first = cli.run("run", "fleet.csv", *short, *FAST, **env)
        cloud.scenario(**OPEN)
        assert cli.run("run", "others.csv", *FAST, **env).code == 0
        second = cli.run("run", "fleet.csv", "--max-duration", "2m", *SKIP, *FAST, **env)

        assert first.code == 5, first.err
        assert (second.json["skipped"], second.json["accepted"]) == (0, 1), second.err
        assert cloud.per_disk() == {disk(0): 2}


def test_who_may_not_ask_sends_nothing(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 5)
    denied = {
        "match": {"action": "DescribeSnapshots"},
        "do": "error",
        "code": "UnauthorizedOperation",
    }
    with simulator(tmp_path, *sets(**OPEN, script=[denied])) as cloud:
        done = cli.run("run", "fleet.csv", *SKIP, *FAST, BATCHSNAP_ENDPOINT=cloud.url)

        assert done.code == 3
        assert cloud.per_disk() == {}


@pytest.mark.parametrize("limit", ["1s", "1m"])
def test_a_limit_within_the_margin_is_a_usage_error(cli: Cli, tmp_path: Path, limit: str) -> None:
    write_fleet(tmp_path, 1)
    done = cli.run("run", "fleet.csv", "--unless-newer-than", limit)
    assert (done.code, "--unless-newer-than" in done.err) == (2, True)
