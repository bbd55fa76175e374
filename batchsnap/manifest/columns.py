"""Owns which known column a header means, and which one a misspelt header meant."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

KNOWN = (
    "DiskId",
    "DiskBackupId",
    "Region",
    "Zone",
    "Profile",
    "SnapshotName",
    "Deadline",
    "DiskUsage",
    "Tags",
)
TAG_PREFIX = "tag:"

_SHORT = 6  # letters; up to here one slip, beyond it two


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


_BY_SPELLING = {
    **{name.lower(): name for name in KNOWN},
    **{_snake(name): name for name in KNOWN},
    "placement.zone": "Zone",  # as DescribeDisks nests it
    "placement_zone": "Zone",
    "磁盘id": "DiskId",  # as the Chinese console and its users write them
    "硬盘id": "DiskId",
    "云硬盘id": "DiskId",
    "地域": "Region",
    "可用区": "Zone",
    "快照名称": "SnapshotName",
}
_BY_LETTERS = {
    re.sub("[^a-z]", "", spelling): name
    for spelling, name in _BY_SPELLING.items()
    if spelling.isascii()
}
_JOINT = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W_])")  # Disk ID, disk-id, Disk_Id
_TAG_SLIP = re.compile(r"tags?\s*[:.=]\s*(\S.*)")


def trimmed(name: str) -> str:
    """A header without invisible characters, surrounding space and full-width forms."""
    visible = "".join(char for char in name if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible).strip()


@lru_cache(maxsize=1024)
def recognise(name: str) -> str:
    """The column a header means: one of `KNOWN`, `tag:KEY` with its key as written, or `""`."""
    text = trimmed(name)
    if text[: len(TAG_PREFIX)].lower() == TAG_PREFIX:
        # The key keeps its own characters: NFKC would turn it into another key.
        return TAG_PREFIX + re.split("[:：]", name, maxsplit=1)[1].strip()
    plain = text.lower()
    return _BY_SPELLING.get(plain) or _BY_SPELLING.get(_JOINT.sub("", plain), "")


@lru_cache(maxsize=1024)
def meant(name: str) -> str:
    """The known column that an unknown header is likely a slip for, or `""`.

    One slip (a letter more, less, other, or two swapped) in up to six letters, two in more, and
    the first letter right in four: "Reason" is not Region, "Done" is not Zone.
    """
    text = trimmed(name).lower()
    if slip := _TAG_SLIP.fullmatch(text):
        return TAG_PREFIX + slip[1]
    letters = "".join(filter(str.isalnum, text))
    for spelling, column in _BY_LETTERS.items():
        slips = 1 if len(spelling) <= _SHORT else 2
        if abs(len(letters) - len(spelling)) > slips:
            continue
        if len(spelling) <= 4 and letters[:1] != spelling[0]:
            continue
        if _distance(letters, spelling) <= slips:
            return column
    return ""


def _distance(left: str, right: str) -> int:
    """Edit distance, two neighbours swapped counting as one slip."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]
