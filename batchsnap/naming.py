"""Owns the names that snapshots are sent with: `--name`, checked once, and the id in each name by
which a row's snapshot is known whatever else has its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from batchsnap.errors import UsageError
from batchsnap.manifest.cells import NAME_MAX_BYTES, has_control, shown

ID_HEX = 8
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# The longest that each is in practice, in bytes; only used to refuse a template early.
_WIDEST = {"disk_id": 13, "region": 20, "date": 8, "time": 6, "run": 26, "id": ID_HEX}


def row_id(run_id: str, key: str) -> str:
    """What `{id}` becomes: 8 hex of run and row, the same in every process life of the run."""
    return blake2b(f"{run_id}\0{key}".encode(), digest_size=ID_HEX // 2).hexdigest()


@dataclass(frozen=True, slots=True)
class NameTemplate:
    """A checked `--name`: what stands before `{id}` and after it, as `str.format` texts."""

    text: str
    head: str
    tail: str

    def for_run(self, run_id: str, born: datetime) -> Namer:
        """Names of one run. `born` (aware) is when the run began, not this process."""
        born = born.astimezone(UTC)
        given = {"date": f"{born:%Y%m%d}", "time": f"{born:%H%M%S}", "run": _plain(run_id)}
        # What is fixed for the run is filled in once; the row's own places stay open.
        fixed = {"disk_id": "{disk_id}", "region": "{region}", "id": "{id}", **given}
        return Namer(run_id, self.head.format_map(fixed), self.tail.format_map(fixed))


@dataclass(frozen=True, slots=True)
class Namer:
    """Makes the SnapshotName of each row of one run."""

    run_id: str
    head: str
    tail: str

    def render(self, *, disk_id: str, region: str, key: str) -> str:
        """At most 60 UTF-8 bytes, always with the row's whole id.

        Where the name would be longer, the text before the id is cut between characters, and
        only where what follows the id is too long by itself, that too.
        """
        mark = row_id(self.run_id, key)
        head = self.head.format(disk_id=disk_id, region=region, id=mark)
        tail = mark + self.tail.format(disk_id=disk_id, region=region, id=mark)
        name = head + tail
        if len(name) <= NAME_MAX_BYTES and name.isascii():
            return name
        tail = _cut(tail, NAME_MAX_BYTES)
        return _cut(head, NAME_MAX_BYTES - len(tail.encode())) + tail


def _plain(text: str) -> str:
    """Text as `str.format` gives it back unchanged."""
    return text.replace("{", "{{").replace("}", "}}")


def _cut(text: str, size: int) -> str:
    """The longest beginning that has at most `size` bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")


def compile_name(template: str) -> NameTemplate:
    """Checks a `--name` and finds where its id stands; `-{id}` is appended where it has none.

    Raises:
        UsageError: empty, a control character, a space at an end, an unknown placeholder, a
            brace without its other, or too long for a name of 60 bytes to hold the id.
    """
    if not template.strip():
        raise UsageError("--name is empty. Give a template such as nightly-{disk_id}-{id}.")
    if template != template.strip() or has_control(template):
        raise UsageError(
            f"--name {shown(template)} begins or ends with a space, or holds a control character. "
            f"A name is one line of plain text."
        )
    if set(_PLACEHOLDER.sub("", template)) & {"{", "}"}:
        raise UsageError(
            f"--name {shown(template)} has a brace without its other. Braces only stand around "
            f"placeholders."
        )
    places = "{" + "} {".join(_WIDEST) + "}"
    for name in _PLACEHOLDER.findall(template):
        if name not in _WIDEST:
            raise UsageError(f"--name has no placeholder {{{name}}}. There are {places}.")
    head, found, tail = template.rpartition("{id}")
    if not found:
        return NameTemplate(template, template + "-", "")
    least = len(_PLACEHOLDER.sub("", template).encode()) + ID_HEX
    widest = ID_HEX + len(_PLACEHOLDER.sub("", tail).encode())
    widest += sum(_WIDEST[name] for name in _PLACEHOLDER.findall(tail))
    if max(least, widest) > NAME_MAX_BYTES:
        raise UsageError(
            f"--name {shown(template)} comes to {max(least, widest)} bytes with its id, and "
            f"{NAME_MAX_BYTES} are allowed. Shorten it, or put {{id}} at its end."
        )
    return NameTemplate(template, head, tail)
