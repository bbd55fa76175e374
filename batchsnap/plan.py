"""Owns the step from rows to requests: keys, repeats, the names that snapshots are sent with, the
survey and the forecast.

In each name stands an id by which a row's snapshot is known whatever else has its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from batchsnap.errors import ManifestError, UsageError
from batchsnap.manifest.cells import NAME_MAX_BYTES, TAGS_MAX, Tags, has_control, shown, tag_flaws
from batchsnap.manifest.rows import deadline_problem
from batchsnap.model import DiskRow, PlannedRequest, Problem
from batchsnap.settings import RATE_PER_S

PROBLEMS_MAX = 100  # kept and shown; all are counted
SAMPLE_NAMES = 3
DAY = timedelta(days=1)  # the cloud takes no Deadline nearer than this
ID_HEX = 8
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# The longest that each is in practice, in bytes; only used to refuse a template early.
_WIDEST = {"disk_id": 13, "region": 20, "date": 8, "time": 6, "run": 26, "id": ID_HEX}


def key_of(disk_id: str, disk_backup_id: str) -> str:
    """The identity of a row: `disk-x`, `disk-x+dbp-y`, or `+dbp-y` for a backup point alone."""
    return f"{disk_id}+{disk_backup_id}" if disk_backup_id else disk_id


def check_tags(tags: Tags) -> None:
    """Raise UsageError for a `--tag` that breaks the law which tags in a manifest obey."""
    for _, flaw in tag_flaws(tags):
        raise UsageError(f"--tag: {flaw}")


def request_of(
    row: DiskRow, *, namer: Namer, tags: Tags = (), profile: str = "", deadline: str = ""
) -> PlannedRequest:
    """The request of a row. What the row says wins over `tags`, `profile` and `deadline`."""
    (
        line,
        disk_id,
        backup_id,
        region,
        own_profile,
        own_name,
        own_deadline,
        usage,
        own_tags,
        source,
    ) = row
    key = f"{disk_id}+{backup_id}" if backup_id else disk_id
    name = own_name or namer.render(disk_id=disk_id or backup_id, region=region, key=key)
    return PlannedRequest(
        key,
        line,
        disk_id,
        backup_id,
        region,
        own_profile or profile,
        name,
        bool(own_name),
        own_deadline or deadline,
        usage,
        merged_tags(own_tags, tags) if own_tags else tags,
        source,
    )


def merged_tags(own: Tags, common: Tags) -> Tags:
    """The common tags with the row's own over them."""
    return tuple({**dict(common), **dict(own)}.items())


class ProblemLog:
    """Keeps the first hundred problems and counts all, so a bad file costs no memory."""

    def __init__(self, limit: int = PROBLEMS_MAX) -> None:
        self.limit = limit
        self.first: list[Problem] = []
        self.total = 0

    def add(self, problem: Problem | None) -> None:
        """Takes in what a check found; None is nothing."""
        if problem is None:
            return
        self.total += 1
        if len(self.first) < self.limit:
            self.first.append(problem)

    def raise_if_any(self) -> None:
        """Raises ManifestError where there is a problem."""
        if self.total:
            raise ManifestError(sorted(self.first, key=lambda problem: problem.line), self.total)


def repeat_problems(
    rows: Iterable[DiskRow | Problem], repeated: Set[str], *, source: str
) -> Iterator[Problem]:
    """A problem for each row whose key, one of `repeated`, an earlier row has."""
    first: dict[str, int] = {}
    for row in rows:
        if not isinstance(row, DiskRow):
            continue
        key = key_of(row.disk_id, row.disk_backup_id)
        if key in repeated and first.setdefault(key, row.line) != row.line:
            column = "DiskId" if row.disk_id else "DiskBackupId"
            what = f"{key.lstrip('+')} is already on line {first[key]}; "
            yield Problem(source, row.line, column, what + "one row makes one snapshot")


@dataclass(slots=True)
class Survey:
    """What one look at the whole manifest found."""

    rows: int = 0  # valid ones, repeats included
    by_scope: dict[tuple[str, str], int] = field(default_factory=dict)  # (profile, region)
    names: list[str] = field(default_factory=list)  # the first three as they would be sent
    named: int = 0  # rows that bring a name of their own
    keys: set[str] = field(default_factory=set)
    problems: ProblemLog = field(default_factory=ProblemLog)


def survey(
    rows: Callable[[], Iterable[DiskRow | Problem]],
    *,
    source: str,
    namer: Namer | None = None,
    tags: Tags = (),
    profile: str = "",
    start: datetime | None = None,
    rate_per_s: float = RATE_PER_S,
    quota_of: Callable[[str, str], Hashable] = lambda profile, _region: profile,
    each: Callable[[DiskRow, str], Problem | None] | None = None,
) -> Survey:
    """Reads the rows once, and once more only where keys repeat, to name both lines.

    `tags` and `profile` are the run's, for rows without. With `start`, the aware moment of the
    first sending, each Deadline is held against the moment when its row's turn comes: `quota_of`
    (profile, region) says which rows queue up together, at `rate_per_s`. `each` is called once
    with every row that is no repeat, and its key; what it returns is a problem of the row.
    """
    found = Survey()
    keys, counts, problems = found.keys, found.by_scope, found.problems
    names = found.names
    known = keys.add
    repeated: set[str] = set()
    total = named = 0
    for row in rows():
        if not isinstance(row, DiskRow):
            problems.add(row)
            continue
        line, disk_id, backup_id, region, own_profile, name, deadline, _, own_tags, _ = row
        total += 1
        key = f"{disk_id}+{backup_id}" if backup_id else disk_id
        if key in keys:
            repeated.add(key)
        else:
            known(key)
            if each is not None:
                problems.add(each(row, key))
        scope = (own_profile or profile, region)
        try:
            counts[scope] += 1
        except KeyError:
            counts[scope] = 1
        named += name != ""
        if len(names) < SAMPLE_NAMES and namer:
            names.append(request_of(row, namer=namer).name)
        if own_tags and tags and (flaw := _too_many(own_tags, tags)):
            problems.add(Problem(source, line, "Tags", flaw))
        if deadline and start is not None:
            quota = quota_of(*scope)
            turn = sum(count for other, count in counts.items() if quota_of(*other) == quota)
            earliest = start + timedelta(seconds=turn / rate_per_s) + DAY
            problems.add(deadline_problem(row, earliest, source=source))
    if repeated:
        for problem in repeat_problems(rows(), repeated, source=source):
            problems.add(problem)
    found.rows, found.named = total, named
    return found


def _too_many(own: Tags, common: Tags) -> str:
    count = len(merged_tags(own, common))
    if count <= TAGS_MAX:
        return ""
    return f"{count} tags with those of --tag; a snapshot takes at most {TAGS_MAX}"


def forecast(rows_per_quota: Mapping[Any, int], rate_per_s: float = RATE_PER_S) -> float:
    """Seconds until the last row is sent: quotas run side by side, so the longest queue decides."""
    return max(rows_per_quota.values(), default=0) / rate_per_s


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
