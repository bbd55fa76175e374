"""Clouds and networks that are ill for a while, or wrong for ever: no row is spent or doubled."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from batchsnap.ledger.record import unstamp
from batchsnap.simulator.scenario import Scenario
from batchsnap.simulator.server import EmbeddedSimulator
from tests.process import (
    SECRET_KEY,
    Cli,
    Cloud,
    disk,
    environment,
    sets,
    simulator,
    write_fleet,
)
from tests.windows import worst_window

FAST = ("--rate", "400", "--api-limit", "400")


def to(cloud: Cloud) -> dict[str, str]:
    return {"BATCHSNAP_ENDPOINT": cloud.url}


@pytest.mark.slow
def test_an_outage_makes_few_doubts_and_spends_no_row(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 40)
    with simulator(tmp_path, *sets(error_5xx=1.0, committed=0.0)) as cloud:
        process = cli.start("run", "fleet.csv", "--json", "--settle-for", "2s", **to(cloud))
        cloud.wait_for(lambda state: state["faults"].get("error_5xx", 0) >= 12, process)
        cloud.scenario()
        out, err = process.communicate(timeout=90)

        assert process.returncode == 0, err
        assert cloud.per_disk() == {disk(i): 1 for i in range(40)}
        assert '"gave_up": 0' in out
    doubts = [r for r in cli.records() if r["event"] == "in_doubt"]
    assert len(doubts) < 25


def test_who_waits_for_an_answer_before_the_first_start_says_what_for(
    cli: Cli, tmp_path: Path
) -> None:
    rows = "".join(f"{disk(i)},ap-guangzhou,own-{i}\n" for i in range(30))
    (tmp_path / "fleet.csv").write_text(f"DiskId,Region,SnapshotName\n{rows}")
    nobody = ("--endpoint", "https://no-such-host.invalid")
    for patience in ("1s", "0s"):
        done = cli.run("run", "fleet.csv", "--yes", *nobody, "--retry-for", patience)

        assert done.code == 5, done.err
        [told] = [line for line in done.err.splitlines() if "no answer comes" in line]
        assert told.startswith("ap-guangzhou: ")
        assert "fault.dns" in told
        assert "check DNS and --endpoint" in told


def test_nobody_there_is_no_doubt_and_ends_unfinished(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 30)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for endpoint in (nobody, "https://no-such-host.invalid"):
        done = cli.run(
            *("run", "fleet.csv", "--json", "--endpoint", endpoint, "--retry-for", "1s"),
            *("--ledger", f"{len(endpoint)}.jsonl"),
        )

        assert done.code == 5, done.err
        assert done.json["in_doubt"] == done.json["gave_up"] == done.json["rejected"] == 0
        assert done.json["pending"] + done.json["deferred"] == 30
        assert "giving up for now" in done.err


def test_a_wrong_clock_is_set_by_the_clouds(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 10)
    with simulator(tmp_path, *sets(clock_offset_s=900.0)) as cloud:
        done = cli.run("run", "fleet.csv", "--json", **to(cloud))

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(10)}
    assert sum(r.get("code") == "AuthFailure.SignatureExpire" for r in cli.records()) < 10


def test_bad_keys_halt_and_leave_every_row_pending(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 30)
    with simulator(tmp_path) as cloud:
        env = {**to(cloud), "TENCENTCLOUD_SECRET_KEY": "another-key"}
        done = cli.run("run", "fleet.csv", "--json", **env)
        mended = cli.run("run", "fleet.csv", "--json", **to(cloud))

        assert done.code == 3, done.err
        assert done.json["pending"] == 30
        assert done.json["halted"][0]["scope"] == "account"
        assert mended.code == 0, mended.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(30)}


def test_a_region_whose_quota_is_spent_stops_alone(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 30, regions=("ap-tokyo", "ap-tokyo", "ap-seoul"))
    with simulator(tmp_path, *sets(cap_per_s=0, quota_snapshots=12)) as cloud:
        done = cli.run("run", "fleet.csv", "--json", *FAST, **to(cloud))

        assert done.code == 3, done.err
        assert done.json["accepted"] == 22
        assert done.json["pending"] + done.json["deferred"] == 8
        assert [halt["region"] for halt in done.json["halted"]] == ["ap-tokyo"]


def test_a_profile_without_keys_halts_its_own_rows_only(cli: Cli, tmp_path: Path) -> None:
    rows = [f"{disk(i)},ap-tokyo,{'good' if i % 2 else 'gone'}" for i in range(10)]
    (tmp_path / "fleet.csv").write_text("DiskId,Region,Profile\n" + "\n".join(rows) + "\n")
    (tmp_path / ".tccli").mkdir()
    keys = f'{{"secretId": "AKIDsimulated", "secretKey": "{SECRET_KEY}"}}'
    (tmp_path / ".tccli" / "good.credential").write_text(keys)
    with simulator(tmp_path) as cloud:
        done = cli.run("run", "fleet.csv", "--json", **to(cloud))

        assert done.code == 3, done.err
        assert (done.json["accepted"], done.json["pending"]) == (5, 5)
        assert done.json["halted"][0]["profile"] == "gone"


def test_every_host_has_its_own_cap_and_a_dead_one_slows_nobody(cli: Cli, tmp_path: Path) -> None:
    """Three quotas: profiles that share a host but not their keys; one of them is refused."""
    (tmp_path / ".tccli").mkdir()
    keys = {f"AKID{name}": f"{name}-secret" for name in ("a", "b", "bad")}
    for secret_id, key in keys.items():
        text = f'{{"secretId": "{secret_id}", "secretKey": "{key}"}}'
        path = tmp_path / ".tccli" / f"{secret_id.removeprefix('AKID')}.credential"
        path.write_text(text)
    keys["AKIDbad"] = "another-secret"
    rows = [f"{disk(i)},ap-tokyo,{('bad', 'a', 'b')[i // 30]}" for i in range(90)]
    (tmp_path / "fleet.csv").write_text("DiskId,Region,Profile\n" + "\n".join(rows) + "\n")
    with EmbeddedSimulator(Scenario(cap_per_s=0), credentials=keys) as cloud:
        done = cli.run("run", "fleet.csv", "--json", BATCHSNAP_ENDPOINT=cloud.url)

        assert done.code == 3, done.err
        assert (done.json["accepted"], done.json["pending"]) == (60, 30)
        assert done.json["worst_second"] <= 20
    by_profile: dict[str, list[float]] = {}
    for record in cli.records():
        if "sent_at" in record:
            by_profile.setdefault(record["profile"], []).append(unstamp(record["sent_at"]))
    for starts in by_profile.values():
        assert worst_window(sorted(starts)) <= 20
    together = sorted(by_profile["a"] + by_profile["b"])
    assert worst_window(together) > 25


def test_a_snapshot_that_arrives_late_is_told_as_doubled(cli: Cli, tmp_path: Path) -> None:
    """A request held on the way until after we looked: what no client can exclude."""
    write_fleet(tmp_path, 3)
    with simulator(tmp_path) as cloud:
        late = {"match": {"disk_id": disk(1), "nth": 1}, "do": "late", "seconds": 2.0}
        cloud.scenario(creating_s=0.0, script=[late])
        done = cli.run("run", "fleet.csv", "--json", "--settle-for", "1s", **to(cloud))
        status = cli.run("status", "fleet.csv.ledger.jsonl")

        assert cloud.per_disk()[disk(1)] == 2
        assert done.code == 1, done.err
        assert (done.json["accepted"], done.json["doubled"]) == (3, 1)
        assert "doubled" in status.out
    [doubled] = [r for r in cli.records() if r["event"] == "doubled"]
    assert len(doubled["snapshot_ids"]) == 2


def test_absence_counts_only_where_the_disk_is_seen(cli: Cli, tmp_path: Path) -> None:
    """A disk that this credential can't see may have its snapshot all the same."""
    write_fleet(tmp_path, 2)
    with simulator(tmp_path) as cloud:
        unseen = {"match": {"disk_id": disk(0), "nth": 1}, "do": "reset"}
        hidden = {"match": {"action": "DescribeDisks"}, "do": "error", "code": "InternalError"}
        cloud.scenario(script=[unseen, hidden])
        done = cli.run(
            *("run", "fleet.csv", "--json", "--settle-for", "0.5s", "--retry-for", "1s"),
            **to(cloud),
        )
        assert done.code == 5, done.err
        assert done.json["in_doubt"] == 1
        cloud.scenario()
        later = cli.run("run", "fleet.csv", "--json", "--settle-for", "0.5s", **to(cloud))

        assert later.code == 0, later.err
        assert cloud.per_disk() == {disk(0): 1, disk(1): 1}


def test_a_policy_without_describe_disks_is_said_once(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 10)
    with simulator(tmp_path, *sets(reset=0.5, no_describe_disks=True, cap_per_s=0)) as cloud:
        done = cli.run("run", "fleet.csv", "--settle-for", "0.5s", **to(cloud))

        assert done.code == 0, done.err
        assert done.err.count("DescribeDisks is denied") == 1
        assert cloud.per_disk() == {disk(i): 1 for i in range(10)}


def test_a_cloud_that_restarts_in_mid_run_costs_nothing(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 50)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with simulator(tmp_path, "--port", port) as first:
        process = cli.start("run", "fleet.csv", "--json", "--settle-for", "1s", **to(first))
        first.wait_for(lambda state: state["created"] >= 10, process)
        before = first.per_disk()
    with simulator(tmp_path, "--port", port) as second:
        out, err = process.communicate(timeout=60)
        after = second.per_disk()

        assert process.returncode == 0, err
        assert '"accepted": 50' in out
    # The second cloud has forgotten the first: a row whose reply was lost in between is made again.
    for number in range(50):
        assert 1 <= before.get(disk(number), 0) + after.get(disk(number), 0) <= 2
    assert sum(before.values()) + sum(after.values()) <= 52


def test_a_disk_that_fills_stops_the_run_and_room_lets_it_go_on(cli: Cli, tmp_path: Path) -> None:
    """The file size limit stands for the full disk: the write comes back short, then fails. Only
    the ledger outgrows it, the quota file does not."""
    write_fleet(tmp_path, 600)
    with simulator(tmp_path, *sets(cap_per_s=0)) as cloud:
        full = subprocess.run(
            [sys.executable, "-m", "batchsnap", "run", "fleet.csv", *FAST],
            cwd=tmp_path,
            env=environment(tmp_path, **to(cloud)),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert full.returncode == 4, full.stderr
        assert "Nothing more is sent" in full.stderr
        assert "Traceback" not in full.stderr
        assert cloud.state()["created"] < 600
        done = cli.run("run", "fleet.csv", "--settle-for", "0.5s", *FAST, **to(cloud))

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(600)}


def test_a_ledger_that_vanishes_stops_the_run(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    ledger = tmp_path / "fleet.csv.ledger.jsonl"
    with simulator(tmp_path) as cloud:
        process = cli.start("run", "fleet.csv", **to(cloud))
        cloud.wait_for(lambda state: state["created"] >= 5, process)
        ledger.rename(tmp_path / "moved.jsonl")
        _, err = process.communicate(timeout=30)

        assert process.returncode == 4, err
        assert cloud.state()["created"] < 60
        (tmp_path / "moved.jsonl").rename(ledger)
        done = cli.run("run", "fleet.csv", "--settle-for", "0.5s", **to(cloud))

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(60)}
