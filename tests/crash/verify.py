"""What a ledger tells against what the cloud has: every way in which the two may contradict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from batchsnap.ledger.record import Record, decode
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import DONE

Snapshots = Iterable[dict[str, Any]]


def contradictions(ledger: bytes, snapshots: Snapshots, disks: Iterable[str]) -> list[str]:
    """Of a run that has ended well: nothing where each disk has one snapshot of ours, the one
    that its row was given, and no row's story breaks the table. `snapshots` are ours alone."""
    found: list[str] = []
    fold, given = Fold(), defaultdict(list)
    for number, line in enumerate(ledger.splitlines(keepends=True)):
        record = decode(line)
        if record is None or (number and record["seq"] != number):
            found.append(f"line {number} is damaged or out of order")
            break
        fold.apply(record)  # an intent where the table has none raises here
        if record["event"] == "accepted":
            given[record["disk_id"] or ""].append(record["snapshot_id"])
    there = defaultdict(list)
    for snapshot in snapshots:
        there[snapshot["disk_id"]].append(snapshot["snapshot_id"])
    for disk in disks:
        if len(there[disk]) != 1:
            found.append(f"{disk} has {len(there[disk])} snapshots of ours")
        if given[disk] != there[disk]:
            found.append(f"{disk}: told {given[disk]}, the cloud has {there[disk]}")
        if fold.standing(disk).state not in DONE:
            found.append(f"{disk} is told {fold.standing(disk).state}")
    found += [f"{disk} was never asked for" for disk in there.keys() - set(disks)]
    return found


def counts(snapshots: Snapshots, disks: Iterable[str]) -> tuple[int, int]:
    """(disks with more than one snapshot of ours, disks with none)."""
    made = Counter(snapshot["disk_id"] for snapshot in snapshots)
    return sum(n > 1 for n in made.values()), sum(made[disk] == 0 for disk in disks)


def open_intents(records: Iterable[Record]) -> int:
    """Rows whose latest record is an intent: what the next process must settle."""
    latest = {r["key"]: r["event"] for r in records if "key" in r}
    return sum(event == "intent" for event in latest.values())
