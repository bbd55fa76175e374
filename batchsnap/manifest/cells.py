"""Owns the law of one cell: what each value may look like, and what to say where it does not.

Every function takes text whose surrounding space is gone. A `*_flaw` returns `""` or what is
wrong and what would be right; a `parse_*` returns the canonical value beside such a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from difflib import get_close_matches

DISK_ID = re.compile(r"disk-[a-z0-9]+")
DISK_BACKUP_ID = re.compile(r"dbp-[a-z0-9]+")
ZONE = re.compile(r"([a-z]{2,}(?:-[a-z0-9]+)+)-[0-9]+")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(?:\.\d+)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)

NAME_MAX_BYTES = 60
PROFILE_MAX_CHARS = 128
DISK_USAGES = ("SYSTEM_DISK", "DATA_DISK")
TAGS_MAX = 50  # on one resource
TAG_KEY_MAX_CHARS = 127
TAG_VALUE_MAX_CHARS = 255
TAG_RESERVED = ("qcs:", "project", "项目")
_TAG_SPECIALS = frozenset("+-=._:/@()[],;>< ")
_SHOWN_MAX_CHARS = 60
COMMENT = "a comment, and a manifest has none: take such lines out with grep -v '^ *#'"
_WRAPPING = "='\"`\u2018\u2019\u201c\u201d\u00b4 "
"""What spreadsheets and editors put around a value: ="…", a leading ', smart quotes."""
KNOWN_REGIONS = (
    *("ap-bangkok", "ap-beijing", "ap-beijing-fsi", "ap-chengdu", "ap-chongqing", "ap-guangzhou"),
    *("ap-hongkong", "ap-jakarta", "ap-mumbai", "ap-nanjing", "ap-seoul", "ap-shanghai"),
    *("ap-shanghai-fsi", "ap-shenzhen", "ap-shenzhen-fsi", "ap-singapore", "ap-taipei"),
    *("ap-tianjin", "ap-tokyo", "eu-frankfurt", "eu-moscow", "na-ashburn", "na-siliconvalley"),
    *("na-toronto", "sa-saopaulo"),
)
"""To complete them, and to tell a slip of the pen."""

Tags = tuple[tuple[str, str], ...]


def shown(text: str) -> str:
    """The text quoted for a person, control characters escaped, at most 60 characters."""
    quoted = repr(text)
    return quoted if len(quoted) <= _SHOWN_MAX_CHARS else quoted[: _SHOWN_MAX_CHARS - 1] + "…"


def has_control(text: str) -> bool:
    """Whether a control character, line separator or lone surrogate is in the text."""
    return any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text)


def plain(text: str) -> str:
    """An id as it was meant: without full-width forms, invisible characters (zero-width spaces,
    byte order marks), upper case, and what spreadsheets wrap around a value."""
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible).strip(_WRAPPING).lower()


def disk_id_flaw(text: str) -> str:
    return _id_flaw(text, DISK_ID, "disk-", "a disk")


def disk_backup_id_flaw(text: str) -> str:
    return _id_flaw(text, DISK_BACKUP_ID, "dbp-", "a backup point")


def _id_flaw(text: str, form: re.Pattern[str], prefix: str, noun: str) -> str:
    if form.fullmatch(text):
        return ""
    if text.startswith("#"):
        return COMMENT
    if form.fullmatch(meant := plain(text)):
        return f"{shown(text)} would be right as {meant!r}"
    return (
        f"{shown(text)} is not the id of {noun}: that is {prefix!r} and lower-case letters and "
        f"digits, such as '{prefix}a1b2c3d4'"
    )


def region_flaw(text: str) -> str:
    """A region is known by its shape alone; the cloud opens new ones."""
    if zone := ZONE.fullmatch(text):
        return f"{shown(text)} is a zone; its region is {zone[1]!r}"
    if _REGION.fullmatch(text):
        return ""
    if _REGION.fullmatch(meant := plain(text)):
        return f"{shown(text)} would be right as {meant!r}"
    return f"{shown(text)} is not a region id; one looks like 'ap-guangzhou'"


def unknown_regions(regions: Iterable[str]) -> Iterator[str]:
    """A word about each region that is not known by name. New ones come, so it is no error."""
    for region in sorted(set(regions) - set(KNOWN_REGIONS) - {""}):
        near = get_close_matches(region, KNOWN_REGIONS, 1, 0.7)
        meant = f": did you mean {near[0]}?" if near else ""
        yield f"region {region} is none that batchsnap knows{meant or '; it is asked all the same'}"


def zone_flaw(text: str) -> str:
    if ZONE.fullmatch(text):
        return ""
    if ZONE.fullmatch(meant := plain(text)):
        return f"{shown(text)} would be right as {meant!r}"
    return f"{shown(text)} is not a zone id; one looks like 'ap-guangzhou-3'"


def name_flaw(text: str) -> str:
    """SnapshotName: at most 60 UTF-8 bytes; the API prints no limit, its neighbours do."""
    if has_control(text):
        return f"{shown(text)} holds a control character; a name is one line of plain text"
    size = len(text.encode())
    if size > NAME_MAX_BYTES:
        return f"{shown(text)} is {size} bytes of UTF-8; at most {NAME_MAX_BYTES} are allowed"
    return ""


def profile_flaw(text: str) -> str:
    if has_control(text) or len(text) > PROFILE_MAX_CHARS:
        return f"{shown(text)} is not a profile name; use one from the credentials file"
    return ""


def parse_disk_usage(text: str) -> tuple[str, str]:
    usage = text.upper()
    if usage in DISK_USAGES:
        return usage, ""
    if (meant := plain(text).upper()) in DISK_USAGES:
        return "", f"{shown(text)} would be right as {meant!r}"
    return "", f"{shown(text)} is neither SYSTEM_DISK nor DATA_DISK; empty keeps the disk's own"


def deadline_text(moment: datetime) -> str:
    """The form that the cloud is sent, whole seconds of UTC: `2027-01-08T09:47:55+00:00`."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat()


def parse_deadline(text: str) -> tuple[str, str]:
    """UTC ISO 8601 -> canonical text. Another zone, or none, is a guess that we do not make."""
    form = _MOMENT.fullmatch(text)
    if form is None:
        return "", f"{shown(text)} is not a moment; write one as 2027-01-08T09:47:55Z"
    day, minute, second, zone = form.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{(zone or 'Z').upper()}")
        utc = deadline_text(moment)
    except (ValueError, OverflowError):
        return "", f"{shown(text)} is no moment of the calendar; write 2027-01-08T09:47:55Z"
    if zone is None:
        return "", f"{shown(text)} has no time zone; if it is UTC, write {utc}"
    if moment.utcoffset():
        return "", f"{shown(text)} is not UTC; the same moment in UTC is {utc}"
    return utc, ""


def parse_tags(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """`k=v;k2=v2` -> pairs, and what is wrong with the parts that are none."""
    pairs: list[tuple[str, str]] = []
    flaws: list[str] = []
    for part in filter(None, map(str.strip, text.split(";"))):
        key, equals, value = part.partition("=")
        if equals:
            pairs.append((key.strip(), value.strip()))
        else:
            flaws.append(
                f"{shown(part)} is not KEY=VALUE; tags are written k=v;k2=v2 "
                f"(a value that holds ';' goes into a 'tag:KEY' column)"
            )
    return pairs, flaws


def tag_flaws(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) for each breach of the tag service's limits, the whole set included."""
    keys: set[str] = set()
    for key, value in pairs:
        if flaw := _tag_key_flaw(key) or _tag_value_flaw(key, value):
            yield key, flaw
        if key in keys:
            yield key, f"tag {shown(key)} is given twice; a key has one value"
        keys.add(key)
    if len(keys) > TAGS_MAX:
        yield "", f"{len(keys)} tags; a snapshot takes at most {TAGS_MAX}"


def _tag_key_flaw(key: str) -> str:
    if not key:
        return "a tag has no key; write KEY=VALUE"
    if len(key) > TAG_KEY_MAX_CHARS:
        return f"tag key {shown(key)} has {len(key)} characters; at most {TAG_KEY_MAX_CHARS}"
    if key.startswith(TAG_RESERVED):
        return (
            f"tag key {shown(key)} is reserved: keys may not begin with 'qcs:', 'project' or '项目'"
        )
    return _tag_text_flaw("key", key)


def _tag_value_flaw(key: str, value: str) -> str:
    if not value:
        return f"tag {shown(key)} has no value; give it 1 to {TAG_VALUE_MAX_CHARS} characters"
    if len(value) > TAG_VALUE_MAX_CHARS:
        return (
            f"the value of tag {shown(key)} has {len(value)} characters; "
            f"at most {TAG_VALUE_MAX_CHARS}"
        )
    return _tag_text_flaw("value", value)


def _tag_text_flaw(part: str, text: str) -> str:
    if text != text.strip():
        return f"tag {part} {shown(text)} begins or ends with a space"
    for char in text:
        if char.isascii() and not char.isalnum() and char not in _TAG_SPECIALS:
            return (
                f"tag {part} {shown(text)} holds {char!r}; letters, digits, spaces and "
                f"+ - = . _ : / @ ( ) [ ] , ; > < are allowed"
            )
    return f"tag {part} {shown(text)} holds a control character" if has_control(text) else ""
