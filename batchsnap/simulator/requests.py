"""Owns what a request may ask: the names, types and ranges of its body, and of a Describe call
which things it means, in which order, and which page of them.

Names and limits are those of the international API pages; where a page prints no limit (the
length of a snapshot's name) the one of ModifySnapshotAttribute stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from batchsnap.simulator.resources import StoredSnapshot

NAME_MAX_BYTES = 60
FILTER_VALUES_MAX = 10
PAGE_MAX = 100
DEADLINE_MIN_AHEAD = timedelta(days=1)

_PAGE = {"Limit": int, "Offset": int, "Order": str, "OrderField": str}
_KEYS: Mapping[str, Mapping[str, type]] = {
    "CreateSnapshot": {
        "DiskId": str,
        "DiskBackupId": str,
        "SnapshotName": str,
        "Deadline": str,
        "DiskUsage": str,
        "Tags": list,
    },
    "DescribeSnapshots": {"SnapshotIds": list, "Filters": list, **_PAGE},
    "DescribeDisks": {
        "DiskIds": list,
        "Filters": list,
        "ReturnBindAutoSnapshotPolicy": bool,
        **_PAGE,
    },
    "DescribeDiskBackups": {"DiskBackupIds": list, "Filters": list, **_PAGE},
    "DeleteSnapshots": {"SnapshotIds": list, "DeleteBindImages": bool},
    "CopySnapshotCrossRegions": {
        "DestinationRegions": list,
        "SnapshotId": str,
        "SnapshotName": str,
    },
    "AssumeRole": {
        **dict.fromkeys(("RoleArn", "RoleSessionName", "ExternalId", "SourceIdentity"), str),
        "DurationSeconds": int,
    },
    "GetCallerIdentity": {},
}
ACTIONS = tuple(_KEYS)
OF_STS = ("AssumeRole", "GetCallerIdentity")  # the others are of the product's own service


class Refused(Exception):
    """The API answers with an error: `code` and `message` as they go over the wire."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def check(action: str, body: Any) -> dict[str, Any]:
    """The body, if its keys and types are right. Raises Refused."""
    if not isinstance(body, dict):
        raise Refused("InvalidParameter", "The body must be a JSON object.")
    allowed = _KEYS[action]
    for key, value in body.items():
        kind = allowed.get(key)
        if kind is None:
            raise Refused("UnknownParameter", f"The parameter `{key}` is not recognized.")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Refused("InvalidParameter", f"`{key}` must be of type {kind.__name__}.")
    for key in ("SnapshotIds", "DiskIds", "DiskBackupIds"):
        if key in body:
            _check_ids(key, body[key], body)
    return body


def check_create(body: Mapping[str, Any], now: float) -> tuple[tuple[str, str], ...]:
    """The values of a CreateSnapshot body at `now` (Unix seconds); returns its tags.

    Raises Refused.
    """
    if not body.get("DiskId") and not body.get("DiskBackupId"):
        raise Refused("MissingParameter", "Either `DiskId` or `DiskBackupId` must be given.")
    _check_name(body)
    if body.get("DiskUsage", "DATA_DISK") not in ("DATA_DISK", "SYSTEM_DISK"):
        raise Refused("InvalidParameterValue", "`DiskUsage` must be DATA_DISK or SYSTEM_DISK.")
    if "Deadline" in body:
        _check_deadline(body["Deadline"], now)
    return _check_tags(body.get("Tags", []))


def check_copy(body: Mapping[str, Any], region: str) -> list[str]:
    """The values of a CopySnapshotCrossRegions body sent to `region`; returns the destinations.

    Raises Refused.
    """
    destinations = body.get("DestinationRegions")
    if not body.get("SnapshotId") or not destinations:
        raise Refused("MissingParameter", "`SnapshotId` and `DestinationRegions` must be given.")
    if not _all_str(destinations):
        raise Refused("InvalidParameter", "`DestinationRegions` must be a list of strings.")
    if region in destinations or len(set(destinations)) < len(destinations):
        raise Refused("InvalidParameterValue", "A destination is another region, and given once.")
    _check_name(body)
    return list(destinations)


def filters_of(body: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The filters as (name, values). Raises Refused for a wrong shape or too many values."""
    found = []
    for item in body.get("Filters", []):
        if not isinstance(item, dict) or item.keys() != {"Name", "Values"}:
            raise Refused("InvalidParameter", "A filter has a `Name` and `Values`.")
        name, values = item["Name"], item["Values"]
        if not isinstance(name, str) or not _all_str(values) or not values:
            raise Refused("InvalidParameter", "A filter's `Values` are one or more strings.")
        if len(values) > FILTER_VALUES_MAX and name == "disk-id":
            raise Refused(
                "InvalidParameterValue",
                f"The filter `{name}` takes at most {FILTER_VALUES_MAX} values.",
            )
        found.append((name, tuple(values)))
    return found


def page_of(body: Mapping[str, Any]) -> tuple[int, int]:
    """(offset, limit). Raises Refused outside 0… and 1…100."""
    offset, limit = body.get("Offset", 0), body.get("Limit", 20)
    if offset < 0:
        raise Refused("InvalidParameterValue", "`Offset` must not be negative.")
    if not 1 <= limit <= PAGE_MAX:
        raise Refused("InvalidParameterValue", f"`Limit` must be from 1 to {PAGE_MAX}.")
    return offset, limit


def descending(body: Mapping[str, Any], order_fields: tuple[str, ...]) -> bool:
    """Whether the newest comes first, as it does unless asked otherwise. Raises Refused."""
    if body.get("OrderField", order_fields[0]) not in order_fields:
        raise Refused("InvalidParameterValue", f"`OrderField` is {' or '.join(order_fields)}.")
    order = body.get("Order", "DESC")
    if order not in ("ASC", "DESC"):
        raise Refused("InvalidParameterValue", "`Order` must be ASC or DESC.")
    return bool(order == "DESC")


def _check_name(body: Mapping[str, Any]) -> None:
    if len(body.get("SnapshotName", "").encode()) > NAME_MAX_BYTES:
        raise Refused(
            "InvalidParameterValue.LimitExceeded",
            f"`SnapshotName` must not be longer than {NAME_MAX_BYTES} bytes.",
        )


def _check_ids(key: str, ids: Any, body: Mapping[str, Any]) -> None:
    if not _all_str(ids):
        raise Refused("InvalidParameter", f"`{key}` must be a list of strings.")
    if len(ids) > PAGE_MAX:
        raise Refused("InvalidParameterValue", f"`{key}` takes at most {PAGE_MAX} ids.")
    if ids and body.get("Filters"):
        raise Refused("InvalidParameter", f"`{key}` and `Filters` exclude each other.")


def _check_deadline(text: str, now: float) -> None:
    try:
        deadline = datetime.fromisoformat(text)
    except ValueError:
        deadline = None
    if deadline is None or deadline.tzinfo is None:
        raise Refused("InvalidParameterValue", "`Deadline` must be an ISO 8601 time with zone.")
    if deadline < datetime.fromtimestamp(now, deadline.tzinfo) + DEADLINE_MIN_AHEAD:
        raise Refused("InvalidParameterValue", "`Deadline` must be at least one day ahead.")


def _check_tags(tags: list[Any]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for tag in tags:
        if not isinstance(tag, dict) or tag.keys() != {"Key", "Value"}:
            raise Refused("InvalidParameter", "A tag has a `Key` and a `Value`.")
        key, value = tag["Key"], tag["Value"]
        if not isinstance(key, str) or not isinstance(value, str):
            raise Refused("InvalidParameter", "A tag's `Key` and `Value` are strings.")
        if not 1 <= len(key) <= 127 or not 1 <= len(value) <= 255:
            raise Refused("InvalidParameterValue", "A tag's key or value is empty or too long.")
        pairs.append((key, value))
    if len(pairs) > 50 or len({key for key, _ in pairs}) < len(pairs):
        raise Refused("InvalidParameterValue", "At most 50 tags, and each key once.")
    return tuple(pairs)


def _all_str(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


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
    things: Sequence[StoredSnapshot], filters: Sequence[tuple[str, tuple[str, ...]]], now: float
) -> Sequence[StoredSnapshot]:
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


def _snapshot_field(thing: StoredSnapshot, name: str, now: float) -> str:
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
            return thing.disk_id
        case _:
            return thing.zone


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
