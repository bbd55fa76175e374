"""Owns the step from one JSON object to column names and text cells, and where objects begin.

A disk as DescribeDisks tells it (it has DiskState or SnapshotAbility) is no order: its Tags and
DiskUsage are the disk's own, and are not asked for on the snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from batchsnap.manifest.cells import ZONE, shown
from batchsnap.manifest.columns import TAG_PREFIX, recognise

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}\n]')
_OWN_OF_DISK = frozenset({"Tags", "DiskUsage"})


class Flat(NamedTuple):
    """One object as a header and a line of a table."""

    names: tuple[str, ...]
    cells: list[str]
    flaws: list[tuple[str, str]]  # (column, what is wrong)
    left_out: list[str]  # known columns that tell of the disk; Tags only where it has some


def flat(value: dict[str, Any]) -> Flat:
    """Nested Placement becomes its zone, tags a `tag:KEY` column each, null an empty cell."""
    described = "DiskState" in value or "SnapshotAbility" in value
    names: list[str] = []
    cells: list[str] = []
    flaws: list[tuple[str, str]] = []
    left_out: list[str] = []
    for name, item in value.items():
        column = recognise(name)
        if described and column in _OWN_OF_DISK:
            if item:
                left_out.append(column)
        elif name.lower() == "placement" and isinstance(item, dict):
            names.append("Placement.Zone")
            cells.append(_text(item.get("Zone", item.get("zone"))) or "")
        elif column == "Tags" and isinstance(item, (dict, list)):
            for key, tag in _pairs(item, flaws):
                names.append(TAG_PREFIX + key)
                cells.append(tag)
        else:
            text = _text(item)
            if text is None and column:
                flaws.append((column, f"{shown(str(item))} is not text"))
            names.append(name)
            cells.append(text or "")
    return Flat(tuple(names), cells, flaws, left_out)


def region_of(disk: Any) -> str:
    """The region of a disk as DescribeDisks tells it, from its zone; "" where it has none."""
    place = disk.get("Placement") if isinstance(disk, dict) else None
    form = ZONE.fullmatch(str(place.get("Zone"))) if isinstance(place, dict) else None
    return form[1] if form else ""


def _text(item: Any) -> str | None:
    """A scalar as a cell; None for what is no text."""
    if isinstance(item, str):
        return item
    if item is None:
        return ""
    return str(item) if type(item) is int else None


def _pairs(tags: Any, flaws: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Tags as an object, or as the API's list of Key and Value."""
    if isinstance(tags, list):
        pairs = [
            (tag.get("Key", tag.get("key")), tag.get("Value", tag.get("value")))
            if isinstance(tag, dict)
            else (None, tag)
            for tag in tags
        ]
    else:
        pairs = list(tags.items())
    for key, value in pairs:
        if not isinstance(key, str) or not key.strip() or not isinstance(value, str):
            flaws.append(("Tags", 'tags are {"k": "v"} or [{"Key": "k", "Value": "v"}], all text'))
        elif not value.strip():
            flaws.append(("Tags", f"tag {shown(key)} has no value; give it one, or leave it out"))
        else:
            yield key, value


def element_lines(text: str, key: str) -> Iterator[int]:
    """The line (from 1) of each object in the arrays `key`, or in the outermost array for `""`.

    The text is valid JSON: it was parsed before, so brackets outside strings are structure.
    """
    line, depth, inside, before = 1, 0, 0, ""
    for match in _TOKEN.finditer(text):
        mark = match[0]
        if mark == "\n":
            line += 1
            continue
        if mark in "[{":
            if inside and depth == inside and mark == "{":
                yield line
            depth += 1
            if mark == "[" and not inside and before == (f'"{key}"' if key else ""):
                inside = depth
        elif mark in "]}":
            depth -= 1
            if depth < inside:
                if not key:
                    return
                inside = 0  # an array of replies has the next one's
        before = mark
