"""A ledger in a file of this machine, and the files that belong to one series."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from glob import escape
from itertools import count, islice
from pathlib import Path

from batchsnap.errors import LedgerError, UsageError
from batchsnap.ledger.disk import held, volatile
from batchsnap.ledger.ports import Owned, Series, Store
from batchsnap.ledger.reading import FileFollower, records
from batchsnap.ledger.record import Record
from batchsnap.ledger.store import Ledger

DATE = "{date}"
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class FileStore:
    """The ledger at a path. It can be read under the path as given; a ledger that is opened goes
    by the absolute one."""

    path: Path

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def own_files(self) -> list[Path]:
        return [self.path]

    def exists(self) -> bool:
        return self.path.exists()

    def open(self) -> Ledger:
        return Ledger.open(self.path.absolute())

    def find(self) -> Ledger | None:
        return Ledger.find(self.path.absolute())

    def create(self, header: Record) -> Ledger:
        return Ledger.create(self.path.absolute(), header)

    def records(self) -> Iterator[Record]:
        return records(self.path)

    def follow(self) -> FileFollower:
        return FileFollower(self.path)

    def digest(self, lines: int) -> str:
        sha256 = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                for line in islice(file, lines):
                    sha256.update(line)
        except OSError as error:
            raise LedgerError(f"can't read the ledger {self.path}: {error.strerror}") from error
        return sha256.hexdigest()

    def beside(self, word: str) -> list[tuple[str, Store]]:
        first, last = f"{self.name}.{word}-", ".jsonl"
        return [
            (path.name.removeprefix(first).removesuffix(last), FileStore(path))
            for path in sorted(self.path.parent.glob(f"{escape(first)}*{last}"))
        ]

    def held(self) -> bool | None:
        return held(self.path)

    def parts(self) -> list[Owned]:
        return []

    def warnings(self) -> list[str]:
        if not (kind := volatile(self.path)):
            return []
        return [
            f"{self.path.parent} is {kind}: a machine or container that loses the ledger loses "
            "the promise of one snapshot a row. Put it on a disk that lasts with --ledger"
        ]


def series_of(template: str, now: datetime) -> Series:
    """The series that a path means; it may hold {date}, the UTC day.

    `x.jsonl` is followed by `x.2.jsonl` and `x.3.jsonl`. A number that the given name has (a date)
    is part of that name and never counted up: it would be tomorrow's ledger, or another run's.

    Raises:
        UsageError: an unknown placeholder; the folder does not exist.
    """
    for placeholder in _PLACEHOLDER.findall(template):
        if placeholder != DATE:
            raise UsageError(
                f"--ledger {template} has an unknown placeholder {placeholder}: only {DATE} is "
                "filled in, with the UTC day"
            )
    series = series_beside(Path(template.replace(DATE, f"{now:%Y%m%d}")))
    if DATE not in template or series.newest.exists():
        return series
    earlier = max(_dated(template), default=None)
    return replace(series, earlier=_numbered(earlier)[0] if earlier is not None else None)


def series_beside(first: Path) -> Series:
    """The series that begins with this file.

    Raises:
        UsageError: the folder does not exist.
    """
    first = first.absolute()
    if not first.parent.is_dir():
        raise UsageError(f"no folder {first.parent} for the ledger: make it, or give --ledger PATH")
    return Series(*_numbered(first))


def _numbered(first: Path) -> tuple[FileStore, FileStore]:
    """The newest that `--new` made beside the first, and the next one."""
    newest = first
    for number in count(2):
        following = first.with_name(f"{first.stem}.{number}{first.suffix}")
        if not following.exists():
            break
        newest = following
    return FileStore(newest), FileStore(following)


def _dated(template: str) -> Iterator[Path]:
    """The ledgers of all days; sorted by name they are sorted by day."""
    parts = Path(template).absolute().parts
    place = next(i for i, part in enumerate(parts) if DATE in part)
    before, after = parts[place].split(DATE)[0], parts[place].split(DATE)[-1]
    name = re.compile(re.escape(before) + r"(\d{8}).*" + re.escape(after))
    for path in Path(*parts[:place]).iterdir():
        found = name.fullmatch(path.name)
        if found is None:
            continue
        ledger = Path(template.replace(DATE, found[1])).absolute()
        if ledger.is_relative_to(path) and ledger.is_file():
            yield ledger
