"""Snapshot ids that are another disk's, as replies that came to the wrong request would give."""

from __future__ import annotations

from pathlib import Path

from batchsnap.ledger.record import encode
from tests.process import Cli, disk, sets, simulator, write_fleet

FAST = ("--rate", "400", "--api-limit", "400", "--settle-for", "1s")
LEDGER = "fleet.csv.ledger.jsonl"


def swap_ids(cli: Cli) -> None:
    """The ledger as if the first two rows had got each other's reply."""
    records = [{k: v for k, v in r.items() if k != "crc"} for r in cli.records()]
    first, second = [r for r in records if r["event"] == "accepted" and r["key"] < disk(2)]
    first["snapshot_id"], second["snapshot_id"] = second["snapshot_id"], first["snapshot_id"]
    (cli.folder / LEDGER).write_bytes(b"".join(map(encode, records)))  # type: ignore[arg-type]


def test_an_id_of_another_disk_is_neither_ready_nor_deleted(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 4)
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.0)) as cloud:
        made = cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        swap_ids(cli)
        waited = cli.run("wait", LEDGER, "--json")
        again = cli.run("run", "fleet.csv", "--wait", "--json")
        rolled = cli.run("rollback", LEDGER, "--yes", "--json")
        left = {snapshot["disk_id"] for snapshot in cloud.state()["snapshots"]}

    assert (made.code, waited.code, again.code, rolled.code) == (0, 5, 5, 5), waited.err
    assert (waited.json["ready"], waited.json["accepted"]) == (2, 2)
    assert waited.err.count("its row stays accepted") == 2
    accepted = [r for r in cli.records() if r["event"] == "accepted"]
    swapped = [r["snapshot_id"] for r in accepted if r["key"] < disk(2)]
    assert f"is on {disk(1)}, not on {disk(0)} as the ledger says" in waited.err
    assert all(snapshot_id in waited.err for snapshot_id in swapped)
    assert rolled.json["deleted"] == 2
    assert "not deleted: 2: on another disk than the ledger says" in rolled.err
    assert left == {disk(0), disk(1)}
