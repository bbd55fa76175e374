"""Kills at random moments under a hostile cloud: the promise, as databases are proved."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.process import Cli, disk, sets, simulator, write_fleet

HOSTILE = (
    "--scenario",
    "hostile",
    *sets(hang_s=1.5, visible_after_s=0.15, late_s=0.15, backpressure_first=0, not_found=0.0),
)
OPTIONS = ("--settle-for", "1s", "--timeout", "1s", "--retry-for", "60s")


def hammer(cli: Cli, folder: Path, *, rows: int, kills: int, seed: int) -> dict[str, int]:
    """Kill and start again so often, then let it end; doubles and losses by the cloud's count."""
    rng = random.Random(seed)
    write_fleet(folder, rows)
    with simulator(folder, *HOSTILE, *sets(seed=seed, cap_per_s=0)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url}
        pace = ("--rate", "40", "--api-limit", "40")
        killed = 0
        for _ in range(kills):
            process = cli.start("run", "fleet.csv", *OPTIONS, *pace, **env)
            try:
                process.communicate(timeout=0.3 + rng.expovariate(1 / 1.2))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed += 1
        done = cli.run("run", "fleet.csv", "--json", *OPTIONS, *pace, **env)
        assert done.code == 0, (seed, done.err)
        counts = Counter(cloud.per_disk())
        told = {r["snapshot_id"] for r in cli.records() if r["event"] == "accepted"}
        there = {s["snapshot_id"] for s in cloud.state()["snapshots"]}
    return {
        "seed": seed,
        "rows": rows,
        "killed": killed,
        "doubles": sum(n > 1 for n in counts.values()),
        "losses": sum(counts[disk(i)] == 0 for i in range(rows)),
        "untrue": len(told ^ there),
    }


def test_some_kills(cli: Cli, tmp_path: Path) -> None:
    found = hammer(cli, tmp_path, rows=40, kills=7, seed=random.randrange(10**6))

    print(found)
    assert found["killed"] >= 3
    assert (found["doubles"], found["losses"], found["untrue"]) == (0, 0, 0), found


@pytest.mark.long
def test_two_hundred_kills(cli: Cli, tmp_path: Path) -> None:
    seed, killed = random.randrange(10**6), 0
    while killed < 200:
        (folder := tmp_path / str(seed)).mkdir()
        found = hammer(Cli(folder), folder, rows=300, kills=25, seed=seed)

        print(found)
        assert (found["doubles"], found["losses"], found["untrue"]) == (0, 0, 0), found
        killed += found["killed"]
        seed += 1
