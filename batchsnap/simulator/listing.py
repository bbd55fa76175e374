"""Owns the lists: which things a Describe call means, in which order, and which page of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from batchsnap.simulator.bodies import Refused, descending, page_of
from batchsnap.simulator.stock import Snapshot

T = TypeVar("T")

# Filter name -> the field of the printed item that must be among its values.
_DISK_FIELDS = {
    "disk-usage": "DiskUsage",
    "disk-charge-type": "DiskChargeType",
    "disk-id": "DiskId",
    "disk-name": "DiskName",
    "disk-type": "DiskType",
    "disk-state": "DiskState",
    "instance-id": "InstanceId",
}
_SNAPSHOT_FILTERS = (
    "snapshot-id",
    "snapshot-name",
    "snapshot-state",
    "disk-usage",
    "project-id",
    "disk-id",
    "encrypt",
    "snapshot-type",
    "zone",
)


def page(
    things: Sequence[T],
    body: Mapping[str, Any],
    order_fields: tuple[str, ...],
    shown: Callable[[T], dict[str, Any]],
) -> tuple[int, list[dict[str, Any]]]:
    """(total, the items of the asked page). `things` come oldest first. Raises Refused."""
    offset, limit = page_of(body)
    total = len(things)
    if descending(body, order_fields):
        chosen = things[max(total - offset - limit, 0) : max(total - offset, 0)][::-1]
    else:
        chosen = things[offset : offset + limit]
    return total, [shown(thing) for thing in chosen]


def match_snapshots(
    things: Sequence[Snapshot], filters: Sequence[tuple[str, tuple[str, ...]]], now: float
) -> Sequence[Snapshot]:
    """Those that pass every filter; within one filter any value will do. Raises Refused."""
    for name, values in filters:
        if name not in _SNAPSHOT_FILTERS:
            raise Refused("InvalidParameterValue", f"There is no filter `{name}`.")
        # Every snapshot here is private, unencrypted and of project 0: such a filter takes all
        # or nothing, and a list of 100,000 must not be walked for it on each page.
        whole = {"snapshot-type": "PRIVATE_SNAPSHOT", "encrypt": "FALSE", "project-id": "0"}
        if name in whole:
            if whole[name] not in (value.upper() for value in values):
                return []
        else:
            wanted = frozenset(values)
            things = [thing for thing in things if _snapshot_field(thing, name, now) in wanted]
    return things


def _snapshot_field(thing: Snapshot, name: str, now: float) -> str:
    match name:
        case "snapshot-id":
            return thing.snapshot_id
        case "snapshot-name":
            return thing.name
        case "snapshot-state":
            return thing.state(now)
        case "disk-usage":
            return thing.usage
        case "disk-id":
            return thing.disk.disk_id
        case _:
            return thing.disk.zone


def disk_passes(item: Mapping[str, Any], filters: Sequence[tuple[str, tuple[str, ...]]]) -> bool:
    """Whether a printed disk passes every filter. Raises Refused for an unknown filter."""
    return all(_disk_passes(item, name, values) for name, values in filters)


def _disk_passes(item: Mapping[str, Any], name: str, values: tuple[str, ...]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in item["Tags"]}
    if name in _DISK_FIELDS:
        return item[_DISK_FIELDS[name]] in values
    if name.startswith("tag:"):
        return tags.get(name[len("tag:") :]) in values
    match name:
        case "tag-key":
            return not tags.keys().isdisjoint(values)
        case "tag-value":
            return not set(tags.values()).isdisjoint(values)
        case "zone":
            return item["Placement"]["Zone"] in values
        case "project-id":
            return str(item["Placement"]["ProjectId"]) in values
        case "portable":
            return str(item["Portable"]).upper() in (value.upper() for value in values)
        case "instance-ip-address" | "instance-name":
            return False
    raise Refused("InvalidParameterValue", f"There is no filter `{name}`.")
