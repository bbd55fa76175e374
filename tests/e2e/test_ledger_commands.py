"""Discover, wait, rollback, plan --online, metrics and JSON talk, through the real command line."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.process import Cli, Cloud, disk, environment, sets, simulator, wait_for, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
FAST = ("--rate", "400", "--api-limit", "400")


def to(cloud: Cloud) -> dict[str, str]:
    return {"BATCHSNAP_ENDPOINT": cloud.url}


def test_discover_writes_what_plan_takes(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, "--disks", "250") as cloud:
        first = cli.run("discover", "--region", "ap-guangzhou", "-o", "found.csv", **to(cloud))
        again = cli.run("discover", "--region", "ap-guangzhou", **to(cloud))
        planned = cli.run("plan", "found.csv", "--online", "--json", **to(cloud))

        assert first.code == again.code == 0, first.err
        assert (tmp_path / "found.csv").read_text() == again.out
        rows = len(again.out.splitlines()) - 1
        said = re.search(r"([\d,]+) disks, ([\d,]+) left out", first.err)
        assert said is not None
        assert rows + int(said[2]) == 250
        assert planned.code == 0, planned.err
        assert planned.json["online"]["checked"] == rows
        unattached = cli.run("discover", "--region", "ap-guangzhou", "--unattached", **to(cloud))
        assert 0 < len(unattached.out.splitlines()) - 1 < rows


def test_plan_online_names_rows_that_cannot_work(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    (tmp_path / "cloud.csv").write_text(
        f"DiskId,Region\n{disk(0)},ap-guangzhou\n{disk(1)},ap-tokyo\n"
    )
    with simulator(tmp_path, "--fleet", "cloud.csv") as cloud:
        done = cli.run("plan", "fleet.csv", "--online", **to(cloud))

        assert done.code == 2
        assert f"fleet.csv:3: DiskId: this credential sees no {disk(1)}" in done.err
        assert "fleet.csv:4" in done.err
        assert "fleet.csv:2" not in done.err
        assert cloud.state()["created"] == 0


def test_wait_goes_on_until_ready_and_tells_what_vanished(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 20)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=1.0, vanish=0.2)) as cloud:
        made = cli.run("run", "fleet.csv", "--json", "--max-errors", "1", *FAST, **to(cloud))
        waited = cli.run("wait", LEDGER, "--settle-for", "3s", "--json", **to(cloud))

        assert made.json["accepted"] == 20
        assert waited.code == 1, waited.err
        assert waited.json["accepted"] == 0
        assert waited.json["vanished"] == cloud.state()["vanished"] > 0
        assert waited.json["ready"] == cloud.state()["alive"]


def test_run_wait_ends_with_ready(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 8)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.5)) as cloud:
        done = cli.run(
            "run", "fleet.csv", "--wait", "--settle-for", "3s", "--json", *FAST, **to(cloud)
        )
        bounded = cli.run(
            "run", "fleet.csv", "--new", "--wait", "--max-duration", "1ms", *FAST, **to(cloud)
        )

        assert (done.code, done.json["ready"], done.json["accepted"]) == (0, 8, 0)
        assert bounded.code == 5


def test_rollback_deletes_exactly_what_the_ledger_made(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 15)
    write_fleet(tmp_path, 15, name="theirs.csv")
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.0)) as cloud:
        cli.run("run", "theirs.csv", *FAST, **to(cloud))
        theirs = {s["snapshot_id"] for s in cloud.state()["snapshots"]}
        cli.run("run", "fleet.csv", *FAST, **to(cloud))
        unasked = cli.run("rollback", LEDGER, **to(cloud))
        assert unasked.code == 2
        assert len(cloud.state()["snapshots"]) == 30
        done = cli.run("rollback", LEDGER, "--yes", "--json", **to(cloud))

        assert done.code == 0, done.err
        assert done.json["deleted"] == 15
        assert {s["snapshot_id"] for s in cloud.state()["snapshots"]} == theirs
        rerun = cli.run("run", "fleet.csv", "--json", **to(cloud))
        assert rerun.json["deleted"] == 15
        assert {s["snapshot_id"] for s in cloud.state()["snapshots"]} == theirs
    order = [r["event"] for r in cli.records() if r.get("key") == disk(3)]
    assert order == ["intent", "accepted", "deleting", "deleted"]


def test_rollback_leaves_what_is_still_being_made(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 4)
    with simulator(tmp_path, *sets(creating_s=600.0)) as cloud:
        cli.run("run", "fleet.csv", **to(cloud))
        done = cli.run("rollback", LEDGER, "--yes", **to(cloud))

        assert done.code == 5
        assert "only NORMAL ones" in done.err
        assert cloud.state()["alive"] == 4


def test_metrics_follow_the_run(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with simulator(tmp_path) as cloud:
        process = cli.start("run", "fleet.csv", "--metrics-port", str(port), **to(cloud))
        text = ""

        def told() -> bool:
            nonlocal text
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply,
            ):
                text = reply.read().decode()
            return "batchsnap_requests_total" in text and 'verdict="ACCEPTED"' in text

        wait_for(told, process)
        process.communicate(timeout=60)

    assert process.returncode == 0
    for name in ("rows", "in_flight", "starts_per_second", "last_accepted_seconds"):
        assert f"batchsnap_{name}" in text
    assert "batchsnap_latency_seconds_bucket" in text


def test_talk_can_be_json(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path) as cloud:
        done = cli.run("run", "fleet.csv", "-vv", "--log-format", "json", **to(cloud))

    lines = [json.loads(line) for line in done.err.splitlines()]
    assert done.code == 0
    assert sum("record" in line and line["record"]["event"] == "accepted" for line in lines) == 3


def test_on_a_terminal_the_question_is_asked_and_no_means_no(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path) as cloud:
        parent, child = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "batchsnap", "run", "fleet.csv"],
            cwd=tmp_path,
            env=environment(tmp_path, TERM="xterm", **to(cloud)),
            stdin=child,
            stdout=child,
            stderr=child,
        )
        os.close(child)
        os.write(parent, b"n\n")
        process.wait(30)
        shown = os.read(parent, 10_000).decode()
        os.close(parent)

        assert process.returncode == 130
        assert "Go on?" in shown
        assert cloud.state()["created"] == 0
    assert not (tmp_path / LEDGER).exists()
