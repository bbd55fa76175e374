"""The restore map: for each row what the person needs who rebuilds its disk, here or elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import orjson

from batchsnap.cloud.actions import DATA_DISK, SYSTEM_DISK
from batchsnap.cloud.pages import DiskFact, SnapshotFact
from batchsnap.report.facts import RowFact
from batchsnap.report.files import csv_text

_NO_WORD = re.compile(r"[^a-z0-9]+")
_THERE = frozenset({"accepted", "ready", "skipped"})


@dataclass(frozen=True, slots=True)
class RestoreLine:
    """A row, and one copy of its snapshot; "" is what nobody told."""

    name: str  # for terraform: letters, digits and underscores, one for each row
    disk_id: str
    disk_backup_id: str
    disk_name: str
    usage: str  # of the disk: SYSTEM_DISK or DATA_DISK
    size_gib: str  # a new disk is at least as large
    disk_type: str
    zone: str
    instance_id: str
    region: str
    profile: str
    state: str  # of the row
    snapshot_id: str
    copy_region: str
    copy_state: str
    copy_id: str
    snapshot_usage: str  # of the snapshot, which decides
    becomes_disk: str  # yes, no, or unknown
    why: str  # of a no or unknown


@dataclass(frozen=True, slots=True)
class Told:
    """What the cloud told of a row when the map was drawn."""

    disk: DiskFact | None = None
    snapshot: SnapshotFact | None = None
    copy: SnapshotFact | None = None


def line_of(row: RowFact, copy: RowFact | None, copy_region: str, told: Told) -> RestoreLine:
    """The line of a row and of one copy of its snapshot, if it has one."""
    disk, snapshots = told.disk, [f for f in (told.copy, told.snapshot) if f is not None]
    usage = next((f.usage for f in snapshots if f.usage), "")
    size = next((f.size_gib for f in snapshots if f.size_gib), disk.size_gib if disk else 0)
    becomes, why = _becomes(row, usage)
    return RestoreLine(
        name=_NO_WORD.sub("_", row.key.lower()).strip("_"),
        disk_id=row.disk_id,
        disk_backup_id=row.disk_backup_id,
        disk_name=disk.name if disk else "",
        usage=disk.usage if disk else "",
        size_gib=str(size or ""),
        disk_type=disk.disk_type if disk else "",
        zone=disk.zone if disk else "",
        instance_id=disk.instance_id if disk else "",
        region=row.region,
        profile=row.profile,
        state=row.state,
        snapshot_id=row.snapshot_id if row.state in _THERE else "",
        copy_region=copy_region,
        copy_state=copy.state if copy else "",
        copy_id=copy.snapshot_id if copy and copy.state in _THERE else "",
        snapshot_usage=usage,
        becomes_disk=becomes,
        why=why,
    )


def _becomes(row: RowFact, usage: str) -> tuple[str, str]:
    if row.state not in _THERE:
        return "no", f"there is no snapshot: {row.state}"
    if usage == SYSTEM_DISK:
        return "no", "the snapshot of a system disk becomes an image: CreateImage, RunInstances"
    if usage == DATA_DISK:
        return "yes", ""
    return "unknown", "the cloud did not tell what the snapshot is of: draw the map again"


def restore_csv(lines: Iterable[RestoreLine]) -> str:
    """A header and a line each. Terraform reads it too, so no mark tells that it is UTF-8."""
    names = [field.name for field in fields(RestoreLine)]
    return csv_text(names, ([getattr(line, name) for name in names] for line in lines))


def restore_json(lines: Iterable[RestoreLine], *, asked_at: str) -> str:
    """`{"asked_at", "rows"}`."""
    told = {"asked_at": asked_at, "rows": [asdict(line) for line in lines]}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
