"""A run under a hostile cloud, killed at random moments again and again, and what came of it.

Half of the rows bring a name of their own, the same on every disk, and some of their disks have an
older snapshot of that name. The waits are scaled down, and what the cloud holds back is scaled with
them: beyond the schedule no client could tell a late snapshot from none.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from batchsnap.ledger.record import decode
from tests.crash.verify import contradictions, counts, open_intents
from tests.process import Cli, Cloud, disk, sets, simulator

HOSTILE: dict[str, Any] = {
    "preset": "hostile",
    "hang_s": 1.5,
    "visible_after_s": 0.15,
    "late_s": 0.15,
    "backpressure_first": 0,
    "not_found": 0.0,
    "cap_per_s": 0,
}
OPTIONS = ("--settle-for", "1s", "--timeout", "1s", "--retry-for", "60s")
PACE_PER_S = 40
PACE = ("--rate", str(PACE_PER_S), "--api-limit", str(PACE_PER_S))
LEDGER = "fleet.csv.ledger.jsonl"
MOST_WRITTEN = 8000  # bytes of ledger that a life may add before it is killed: some 25 records


def write_mixed_fleet(folder: Path, rows: int) -> list[str]:
    """Every second row has a name of its own; its older namesakes are made from older.csv."""
    head = "DiskId,Region,SnapshotName\n"
    lines = [f"{disk(i)},ap-guangzhou,{'nightly' if i % 2 else ''}\n" for i in range(rows)]
    (folder / "fleet.csv").write_text(head + "".join(lines))
    (folder / "older.csv").write_text(head + "".join(lines[1::4]))
    return [disk(i) for i in range(rows)]


def hammer(cli: Cli, folder: Path, *, rows: int, kills: int, seed: int) -> dict[str, int]:
    """Kill and start again so often, and until a kill left a call open; then let it end. Doubles
    and losses are the cloud's count."""
    rng = random.Random(seed)
    disks = write_mixed_fleet(folder, rows)
    command = ("run", "fleet.csv", "--json", *OPTIONS, *PACE)
    killed = left_open = 0
    with simulator(folder, *sets(seed=seed, cap_per_s=0, creating_s=0.0)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url}
        made = cli.run("run", "older.csv", *OPTIONS, "--rate", "400", "--api-limit", "400", **env)
        assert made.code == 0, made.err
        older = {s["snapshot_id"] for s in cloud.state()["snapshots"]}
        cloud.scenario(**HOSTILE, seed=seed)
        while killed < kills or (not left_open and killed < 4 * kills):
            if not _life(cli, command, rng, folder / LEDGER, env):
                break
            killed += 1
            left_open += _left_open(folder / LEDGER)
        for _ in range(10):  # a slow machine may need more than one life
            done = cli.run(*command, **env)
            if done.code != 5:
                break
        assert done.code == 0, (seed, done.code, done.err)
        ours = _ours(cloud, older)
    doubles, losses = counts(ours, disks)
    found = contradictions((folder / LEDGER).read_bytes(), ours, disks)
    return {
        "seed": seed,
        "rows": rows,
        "killed": killed,
        "left_open": left_open,
        "requests": done.json["requests"],
        "doubles": doubles,
        "losses": losses,
        "contradictions": len(found),
        "worst_second": done.json["worst_second"],
    }


def _life(
    cli: Cli, command: tuple[str, ...], rng: random.Random, ledger: Path, env: dict[str, str]
) -> bool:
    """One process, killed at a random moment of its work: before it sends, or after so much that it
    wrote, for how long that takes is the machine's. False where it had ended before."""
    process = cli.start(*command, **env)
    assert process.stderr is not None
    process.stderr.readline()  # its first line: the ledger is open, nothing is sent for a second
    wanted = _size(ledger) + rng.choice([0, rng.randrange(1, MOST_WRITTEN)])
    until = time.monotonic() + rng.uniform(0.0, 1.1)
    while process.poll() is None:
        if _size(ledger) >= wanted and time.monotonic() >= until:
            process.kill()
            process.communicate()
            return True
        time.sleep(0.001)
    _, err = process.communicate()
    assert process.returncode in {0, 5}, err
    return process.returncode != 0


def _size(ledger: Path) -> int:
    return ledger.stat().st_size if ledger.exists() else 0


def _left_open(ledger: Path) -> int:
    if not ledger.exists():
        return 0
    records = (decode(line) for line in ledger.read_bytes().splitlines(keepends=True))
    return open_intents(record for record in records if record is not None)


def _ours(cloud: Cloud, older: set[str]) -> list[dict[str, Any]]:
    return [s for s in cloud.state()["snapshots"] if s["snapshot_id"] not in older]


def well(found: dict[str, int]) -> bool:
    """Whether the promise was kept, and the pace: what kill -9 interrupts catches nothing up."""
    broken = found["doubles"] + found["losses"] + found["contradictions"]
    return not broken and found["worst_second"] <= PACE_PER_S
