"""SIGKILL at every named crash point, then the same command again: one snapshot a row."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from batchsnap.failpoints import POINTS
from tests.crash.hammer import write_mixed_fleet
from tests.crash.verify import contradictions
from tests.process import Cli, Cloud, disk, sets, simulator, write_fleet

ROWS = 16
FAST = ("--rate", "400", "--api-limit", "400", "--settle-for", "0.2s")
LEDGER = "fleet.csv.ledger.jsonl"
OF_BIRTH = ("ledger_born", "ledger_folder_synced")
OF_ROLLBACK = ("deleting_synced", "deletion_sent")
OF_RUN = [point for point in POINTS if point not in OF_ROLLBACK]
OF_SETTLING = ("settle_asked", "settle_found")
LOSSY: dict[str, Any] = {
    "cap_per_s": 0,
    "creating_s": 0.0,
    "lost_reply": 0.3,
    "reset": 0.15,
    "seed": 5,
}


def to(cloud: Cloud, crash: str = "") -> dict[str, str]:
    return {"BATCHSNAP_ENDPOINT": cloud.url, "BATCHSNAP_CRASH": crash}


def killed_run(cli: Cli, point: str) -> None:
    """Every second row has a name of its own, which older snapshots on some disks bear too."""
    disks = write_mixed_fleet(cli.folder, ROWS)
    # The points of settling come seldom: the first pass of them is the one that surely comes.
    nth = 1 if point in OF_BIRTH + OF_SETTLING else 2
    with simulator(cli.folder, *sets(cap_per_s=0, creating_s=0.0)) as cloud:
        assert cli.run("run", "older.csv", *FAST, **to(cloud)).code == 0
        older = {s["snapshot_id"] for s in cloud.state()["snapshots"]}
        cloud.scenario(**LOSSY)
        killed = cli.run("run", "fleet.csv", *FAST, **to(cloud, f"{point}:{nth}"))
        assert killed.code == -signal.SIGKILL, killed.err
        done = cli.run("run", "fleet.csv", "--json", *FAST, **to(cloud))
        snapshots = cloud.state()["snapshots"]

    assert done.code == 0, done.err
    assert done.json["accepted"] == ROWS
    assert older < {s["snapshot_id"] for s in snapshots}
    ours = [s for s in snapshots if s["snapshot_id"] not in older]
    assert contradictions((cli.folder / LEDGER).read_bytes(), ours, disks) == []


def killed_settle(cli: Cli, point: str) -> None:
    """`settle` is killed, then another `settle` and `run` go on."""
    write_fleet(cli.folder, ROWS)
    with simulator(cli.folder, *sets(cap_per_s=0, creating_s=0.0, lost_reply=1.0)) as cloud:
        first = cli.run("run", "fleet.csv", *FAST, **to(cloud, "bytes_sent:6"))
        assert first.code == -signal.SIGKILL, first.err
        cloud.scenario(cap_per_s=0)
        killed = cli.run("settle", LEDGER, "--settle-for", "0.2s", **to(cloud, point))
        assert killed.code == -signal.SIGKILL, killed.err
        settled = cli.run("settle", LEDGER, "--json", "--settle-for", "0.2s", **to(cloud))
        assert (settled.code, settled.json["in_doubt"]) == (0, 0), settled.err
        made = cloud.state()["created"]
        assert 1 <= settled.json["accepted"] == made < ROWS
        done = cli.run("run", "fleet.csv", *FAST, **to(cloud))
        snapshots = cloud.state()["snapshots"]

    assert done.code == 0, done.err
    ledger = (cli.folder / LEDGER).read_bytes()
    assert contradictions(ledger, snapshots, [disk(i) for i in range(ROWS)]) == []


def killed_rollback(cli: Cli, point: str) -> None:
    write_fleet(cli.folder, ROWS)
    write_fleet(cli.folder, ROWS, name="theirs.csv")
    with simulator(cli.folder, *sets(cap_per_s=0, creating_s=0.0)) as cloud:
        cli.run("run", "theirs.csv", *FAST, **to(cloud))
        theirs = {s["snapshot_id"] for s in cloud.state()["snapshots"]}
        cli.run("run", "fleet.csv", *FAST, **to(cloud))
        killed = cli.run("rollback", LEDGER, "--yes", **to(cloud, point))
        assert killed.code == -signal.SIGKILL, killed.err
        done = cli.run("rollback", LEDGER, "--yes", "--json", **to(cloud))

        assert done.code == 0, done.err
        assert done.json["deleted"] == ROWS
        assert {s["snapshot_id"] for s in cloud.state()["snapshots"]} == theirs
    for i in range(ROWS):
        events = [r["event"] for r in cli.records() if r.get("key") == disk(i)]
        assert events.index("deleting") < events.index("deleted")


CASES: list[tuple[Callable[[Cli, str], None], str]] = [
    *((killed_run, point) for point in OF_RUN),
    *((killed_settle, point) for point in OF_SETTLING),
    *((killed_rollback, point) for point in OF_ROLLBACK),
]
NAMES = [f"{case.__name__}-{point}" for case, point in CASES]


@pytest.mark.parametrize(("case", "point"), CASES, ids=NAMES)
def test_a_kill_costs_nothing(cli: Cli, case: Callable[[Cli, str], None], point: str) -> None:
    case(cli, point)
