"""The main job through the real command line, against the real simulator over real sockets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from batchsnap.ledger.record import unstamp
from tests.process import SECRET_KEY, Cli, Cloud, disk, sets, simulator, write_fleet
from tests.windows import worst_window

REGIONS = ("ap-guangzhou", "ap-tokyo", "eu-frankfurt")
SUMMARY_KEYS = [
    *("run_id", "rows", "pending", "deferred", "in_doubt", "accepted", "ready", "skipped"),
    *(
        "rejected",
        "gave_up",
        "deleted",
        "vanished",
        "doubled",
        "requests",
        "throttled",
        "worst_second",
    ),
    *("elapsed_s", "rate_per_s", "halted"),
]
STATES = SUMMARY_KEYS[2:12]
FAST = ("--rate", "400", "--api-limit", "400")
LEDGER = "fleet.csv.ledger.jsonl"


def to(cloud: Cloud) -> dict[str, str]:
    return {"BATCHSNAP_ENDPOINT": cloud.url}


def one_each(cloud: Cloud, rows: int) -> bool:
    return cloud.per_disk() == {disk(i): 1 for i in range(rows)}


def test_a_fleet_becomes_snapshots_under_the_cap(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60, regions=REGIONS)
    with simulator(tmp_path, "--scenario", "strict") as cloud:
        done = cli.run("run", "fleet.csv", "--json", **to(cloud))

        assert done.code == 0, done.err
        assert one_each(cloud, 60)
    summary = done.json
    assert list(summary) == SUMMARY_KEYS
    assert summary["accepted"] == 60
    assert summary["requests"] == 60 + summary["throttled"]
    assert summary["worst_second"] <= 20
    assert sum(summary[state] for state in STATES) == summary["rows"] == 60
    status = cli.run("status", LEDGER, "--json")
    assert status.code == 0
    assert status.json == summary


def test_lost_replies_make_no_second_snapshot(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 80, regions=REGIONS)
    faults = sets(cap_per_s=0, lost_reply=0.15, truncated=0.05, null_id=0.05, committed=1.0)
    with simulator(tmp_path, *faults) as cloud:
        done = cli.run("run", "fleet.csv", "--settle-for", "1s", "--json", *FAST, **to(cloud))

        assert done.code == 0, done.err
        assert one_each(cloud, 80)
        assert sum(cloud.state()["faults"].values()) > 5
    assert done.json["accepted"] == 80
    records = cli.records()
    found = [r for r in records if r["event"] == "settled" and r["found"]]
    assert len(found) > 5
    assert done.json["requests"] == 80


def test_the_same_command_after_a_kill_goes_on(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 40)
    with simulator(tmp_path, "--scenario", "strict") as cloud:
        process = cli.start("run", "fleet.csv", "--settle-for", "0.5s", **to(cloud))
        cloud.wait_for(lambda state: state["created"] >= 10, process)
        process.kill()
        process.communicate()
        resumed = cli.run("run", "fleet.csv", "--settle-for", "0.5s", "--json", **to(cloud))

        assert resumed.code == 0, resumed.err
        assert one_each(cloud, 40)
        calls = cloud.quota()["calls"]
        again = cli.run("run", "fleet.csv", **to(cloud))
        assert again.code == 0
        assert "finished at" in again.err
        assert cloud.quota()["calls"] == calls


def test_settle_resolves_what_a_kill_left(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 30)
    with simulator(tmp_path, *sets(cap_per_s=0, hang=1.0, committed=1.0)) as cloud:
        process = cli.start("run", "fleet.csv", *FAST, **to(cloud))
        cloud.wait_for(lambda state: state["created"] >= 5, process)
        process.kill()
        process.communicate()
        before = cli.run("status", LEDGER, "--json").json
        settled = cli.run("settle", LEDGER, "--settle-for", "0.5s", "--json", **to(cloud))

        assert before["in_doubt"] > 0
        assert settled.code == 0, settled.err
        assert settled.json["in_doubt"] == 0
        assert settled.json["accepted"] == cloud.state()["created"]


def test_own_names_are_told_from_older_ones(cli: Cli, tmp_path: Path) -> None:
    rows = "".join(f"{disk(i)},ap-guangzhou,nightly\n" for i in range(12))
    (tmp_path / "fleet.csv").write_text("DiskId,Region,SnapshotName\n" + rows)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.0)) as cloud:
        first = cli.run("run", "fleet.csv", *FAST, **to(cloud))
        cloud.scenario(cap_per_s=0, creating_s=0.0, lost_reply=0.5, reset=0.2)
        second = cli.run("run", "fleet.csv", "--new", "--settle-for", "0.5s", *FAST, **to(cloud))

        assert (first.code, second.code) == (0, 0), second.err
        assert set(cloud.per_disk().values()) == {2}
        assert {s["name"] for s in cloud.state()["snapshots"]} == {"nightly"}
    intents = [r for r in cli.records("fleet.csv.ledger.2.jsonl") if r["event"] == "intent"]
    assert all(len(r["baseline"]) == 1 for r in intents)


def test_two_rows_on_one_disk_run_one_after_the_other(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text(
        f"DiskId,DiskBackupId,Region\n{disk(1)},,ap-guangzhou\n{disk(1)},dbp-00000001,ap-guangzhou\n"
    )
    with simulator(tmp_path, *sets(creating_s=0.3)) as cloud:
        done = cli.run("run", "fleet.csv", "--json", "--retry-for", "20s", **to(cloud))

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(1): 2}


def test_a_rehearsal_leaves_the_real_run_untouched(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 10)
    with simulator(tmp_path) as cloud:
        rehearsal = cli.run("run", "fleet.csv", "--simulate", **to(cloud))
        assert rehearsal.code == 0, rehearsal.err
        assert cloud.state()["created"] == 0
        real = cli.run("run", "fleet.csv", "--json", **to(cloud))

        assert real.code == 0
        assert real.json["accepted"] == 10
        assert one_each(cloud, 10)
        mixed = cli.run(
            "run", "fleet.csv", "--ledger", "fleet.csv.simulated.ledger.jsonl", **to(cloud)
        )
        assert mixed.code == 4
        assert "simulated" in mixed.err


def test_of_two_processes_born_together_one_runs(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 25)
    with simulator(tmp_path) as cloud:
        both = [cli.start("run", "fleet.csv", **to(cloud)) for _ in range(2)]
        for process in both:
            process.communicate(timeout=60)

        assert sorted(p.returncode for p in both) == [0, 4]
        assert one_each(cloud, 25)


def test_two_runs_that_share_a_quota_keep_one_cap(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 30)
    write_fleet(tmp_path, 30, regions=("ap-tokyo",), name="other.csv")
    with simulator(tmp_path) as cloud:
        both = [cli.start("run", name, **to(cloud)) for name in ("fleet.csv", "other.csv")]
        for process in both:
            process.communicate(timeout=60)

        assert [p.returncode for p in both] == [0, 0]
        assert cloud.state()["created"] == 60
    records = [*cli.records(), *cli.records("other.csv.ledger.jsonl")]
    starts = sorted(unstamp(r["sent_at"]) for r in records if "sent_at" in r)
    assert worst_window(starts) <= 20


def test_an_edited_manifest_resumes_by_identity(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 10)
    with simulator(tmp_path, *sets(cap_per_s=0)) as cloud:
        cli.run("run", "fleet.csv", *FAST, **to(cloud))
        lines = (tmp_path / "fleet.csv").read_text().splitlines()
        edited = [lines[0], f"{disk(99)},ap-guangzhou", *reversed(lines[3:])]
        (tmp_path / "fleet.csv").write_text("\n".join(edited) + "\n")
        done = cli.run("run", "fleet.csv", "--json", *FAST, **to(cloud))

        assert done.code == 0, done.err
        assert "2 rows of the ledger are gone" in done.err
        assert cloud.per_disk() == {**{disk(i): 1 for i in range(10)}, disk(99): 1}
        assert done.json["rows"] == done.json["accepted"] == 9
        moved = (tmp_path / "fleet.csv").read_text().replace("ap-guangzhou", "ap-tokyo", 1)
        (tmp_path / "fleet.csv").write_text(moved)
        moved_too = cli.run("run", "fleet.csv", **to(cloud))
        assert moved_too.code == 0, moved_too.err
        assert cloud.state()["created"] == 11


def test_another_manifest_does_not_take_the_ledger(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path) as cloud:
        cli.run("run", "fleet.csv", **to(cloud))
        (tmp_path / "other.csv").write_text(f"DiskId,Region\n{disk(77)},ap-tokyo\n")
        other = cli.run("run", "other.csv", "--ledger", LEDGER, **to(cloud))
        elsewhere = cli.run("run", "fleet.csv", "--endpoint", "https://cbs.example.com")

        assert other.code == elsewhere.code == 4
        assert "another run" in other.err
        assert "against" in elsewhere.err


def test_standard_input_needs_a_ledger(cli: Cli, tmp_path: Path) -> None:
    text = write_fleet(tmp_path, 3).read_text()
    with simulator(tmp_path) as cloud:
        without = cli.run("run", "-", stdin=text, **to(cloud))
        with_one = cli.run("run", "-", "--ledger", "night-{date}.jsonl", stdin=text, **to(cloud))

        assert without.code == 2
        assert with_one.code == 0, with_one.err
        assert one_each(cloud, 3)
    assert len(list(tmp_path.glob("night-2*.jsonl"))) == 1


BAD = {
    "no id column": "Region\nap-tokyo\n",
    "bad id": "DiskId,Region\nvol-123,ap-tokyo\n",
    "no region": f"DiskId\n{disk(1)}\n",
    "bad region": f"DiskId,Region\n{disk(1)},tokyo!\n",
    "repeat": f"DiskId,Region\n{disk(1)},ap-tokyo\n{disk(1)},ap-tokyo\n",
    "long name": f"DiskId,Region,SnapshotName\n{disk(1)},ap-tokyo,{'x' * 61}\n",
    "past deadline": f"DiskId,Region,Deadline\n{disk(1)},ap-tokyo,2020-01-01T00:00:00Z\n",
    "misspelt column": f"DiskId,Regoin\n{disk(1)},ap-tokyo\n",
    "ragged": f"DiskId,Region\n{disk(1)},ap-tokyo,x,y\n",
    "empty": "",
    "not utf-8": b"DiskId,Region\n\xff\xfe\xff,ap-tokyo\n",
    "bad tag": f"DiskId,Region,Tags\n{disk(1)},ap-tokyo,novalue\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_manifest_sends_nothing(cli: Cli, tmp_path: Path, kind: str) -> None:
    content = BAD[kind]
    path = tmp_path / "fleet.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    done = cli.run("run", "fleet.csv", "--endpoint", "http://127.0.0.1:1")

    assert done.code == 2, done.err
    assert "fleet.csv" in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "fleet.csv", "--rate", "21"),
        ("run", "fleet.csv", "--rate", "0"),
        ("run", "fleet.csv", "--name", "{nope}"),
        ("run", "fleet.csv", "--expire-after", "1h"),
        ("run", "fleet.csv", "--retry-for", "soon"),
        ("run", "fleet.csv", "--endpoint", "http://10.0.0.1"),
        ("run", "fleet.csv", "--endpoint", "https://me:secret@cbs.example.com"),
        ("run", "missing.csv"),
        ("run", "fleet.csv", "--ledger", "no/such/folder/x.jsonl"),
        ("run",),
        ("nonsense",),
    ],
)
def test_usage_errors_exit_2(cli: Cli, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    write_fleet(tmp_path, 2)

    done = cli.run(*arguments)

    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("*.jsonl"))


def test_no_secret_is_told_anywhere(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 30)
    cli.fresh = True  # its words are in the list of processes
    with simulator(tmp_path, *sets(lost_reply=0.2)) as cloud:
        process = cli.start("run", "fleet.csv", "-vv", "--settle-for", "0.3s", **to(cloud))
        seen = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err

    assert "fleet.csv" in seen
    for text in (out, err, seen, (tmp_path / LEDGER).read_text()):
        assert SECRET_KEY not in text
        assert "TC3-HMAC" not in text


def test_no_credentials_halts_before_a_ledger_is_made(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)

    done = cli.run("run", "fleet.csv", TENCENTCLOUD_SECRET_ID="", TENCENTCLOUD_SECRET_KEY="")

    assert done.code == 3
    assert "Looked at" in done.err
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_damaged_ledger_is_refused_with_its_offset(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 20)
    with simulator(tmp_path) as cloud:
        cli.run("run", "fleet.csv", **to(cloud))
        path = tmp_path / LEDGER
        lines = path.read_bytes().splitlines(keepends=True)
        broken = lines[3].replace(b"disk-", b"disk=", 1)
        path.write_bytes(b"".join([*lines[:3], broken, *lines[4:]]))
        done = cli.run("run", "fleet.csv", **to(cloud))
        status = cli.run("status", LEDGER)

    assert done.code == status.code == 4
    assert f"byte {sum(map(len, lines[:3]))}" in done.err
    assert path.read_bytes().splitlines(keepends=True)[3] == broken


def test_plan_says_what_a_run_would_do(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 9, regions=REGIONS)

    text = cli.run("plan", "fleet.csv")
    data = cli.run("plan", "fleet.csv", "--json", "--endpoint", "https://cbs.{region}.example.com")

    assert text.code == data.code == 0
    assert "9 rows, 9 snapshots to make" in text.out
    assert [q["rows"] for q in json.loads(data.out)["quotas"]] == [3, 3, 3]
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.slow
def test_the_demo_shows_a_clean_end(cli: Cli, tmp_path: Path) -> None:
    done = cli.run("demo")

    assert done.code == 0, done.err
    assert "200 snapshots of 200 disks, 0 twice" in done.out
    for name in ("fleet.csv", "fleet.csv.simulated.ledger.jsonl", "report.html"):
        assert (tmp_path / "batchsnap-demo" / name).stat().st_size > 0
    assert done.out.splitlines()[-1].startswith("next: batchsnap plan")


def test_expiry_and_tags_reach_the_cloud_also_after_a_doubt(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 20)
    options = ("--expire-after", "30d", "--tag", "env=prod", "--settle-for", "0.3s")
    with simulator(tmp_path, *sets(cap_per_s=0, reset=0.4)) as cloud:
        process = cli.start("run", "fleet.csv", *options, *FAST, **to(cloud))
        cloud.wait_for(lambda state: state["created"] >= 5, process)
        process.kill()
        process.communicate()
        done = cli.run("run", "fleet.csv", *FAST, **to(cloud))

        assert done.code == 0, done.err
        assert one_each(cloud, 20)
        for snapshot in cloud.state()["snapshots"]:
            assert snapshot["deadline"]
            assert snapshot["tags"] == {"env": "prod"} or ["env", "prod"] in snapshot["tags"]
