"""Which ledger a command means, where each day or each run has its own: the newest one decides.

A command that is started again must find the run that it began, on whichever side of midnight it
is. But a night that was left unfinished, for one doubt perhaps, must not stop the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from itertools import count
from pathlib import Path

from batchsnap.errors import LedgerDamaged, LedgerLocked, UsageError
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.ledger.store import Ledger

DATE = "{date}"
GOES_ON_S = 12 * 3600.0  # a run born less than so long ago is the one that was meant
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Series:
    """The ledgers of one `--ledger`, as far as a command is concerned with them."""

    newest: Path  # of today; it need not exist
    following: Path  # where --new makes the next
    elder: Path | None = None  # the newest of an earlier day, where today has none


class Fate(Enum):
    """What becomes of an earlier day's ledger."""

    ENDED = auto()  # today's begins
    GOES_ON = auto()
    SUPERSEDED = auto()  # its doubts are settled, it is closed, today's begins


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
    return replace(series, elder=_numbered(earlier)[0] if earlier is not None else None)


def series_beside(first: Path) -> Series:
    """The series that begins with this file.

    Raises:
        UsageError: the folder does not exist.
    """
    first = first.absolute()
    if not first.parent.is_dir():
        raise UsageError(f"no folder {first.parent} for the ledger: make it, or give --ledger PATH")
    return Series(*_numbered(first))


def _numbered(first: Path) -> tuple[Path, Path]:
    """The newest that `--new` made beside the first, and the next one."""
    newest = first
    for number in count(2):
        following = first.with_name(f"{first.stem}.{number}{first.suffix}")
        if not following.exists():
            break
        newest = following
    return newest, following


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


def fate_of(fold: Fold, now: datetime) -> Fate:
    """What becomes of an earlier day's ledger that stands so."""
    if fold.ended is not None:
        return Fate.ENDED
    young = now.timestamp() - unstamp(fold.header["at"]) < GOES_ON_S
    return Fate.GOES_ON if young else Fate.SUPERSEDED


@dataclass(slots=True)
class Opened:
    """A run's ledger, locked, or where it is to be born; an earlier day's that it supersedes."""

    path: Path
    ledger: Ledger | None = None
    elder: Ledger | None = None
    told: str = ""  # what the person should hear of the choice

    def release(self) -> None:
        for ledger in (self.ledger, self.elder):
            if ledger is not None:
                ledger.release()


def open_newest(series: Series, now: datetime, *, new: bool) -> Opened:
    """Open the series' newest ledger and decide what it means; `new`: --new was given.

    Raises:
        LedgerLocked: a process is at work on it, and its run has not ended.
        LedgerError: it can't be opened, and may be the one that was meant.
    """
    ledger = Ledger.find(series.newest)
    if ledger is not None:
        if not new or ledger.fold.ended is None:
            return Opened(series.newest, ledger)
        ledger.release()
        return Opened(series.following)
    if series.elder is None:
        return Opened(series.newest)
    return _after(series.elder, series.newest, now)


def _after(elder: Path, path: Path, now: datetime) -> Opened:
    """What an earlier day's ledger means for a run whose own is not there yet."""
    try:
        ledger = Ledger.open(elder)
    except LedgerLocked:
        if fate_of(read_fold(elder), now) is Fate.ENDED:  # somebody waits, or rolls back
            return Opened(path)
        raise
    except LedgerDamaged as error:
        born = Fold()
        born.apply(next(records(elder)))
        if fate_of(born, now) is Fate.GOES_ON:
            raise
        return Opened(path, told=f"{elder} is passed over, its doubts are not settled: {error}")
    fate = fate_of(ledger.fold, now)
    if fate is Fate.GOES_ON:
        return Opened(elder, ledger, told=f"{elder.name} is unfinished and goes on")
    if fate is Fate.SUPERSEDED:
        return Opened(path, elder=ledger)
    ledger.release()
    return Opened(path)


def stands(series: Series, now: datetime) -> Fold | None:
    """Where the ledger stands that a run would take up, read without a lock; None where it would
    begin a new one."""
    if series.newest.exists():
        return read_fold(series.newest)
    if series.elder is None:
        return None
    fold = read_fold(series.elder)
    return fold if fate_of(fold, now) is Fate.GOES_ON else None


def read_fold(path: Path) -> Fold:
    """Where a ledger stands, read without a lock; raises as `records` does."""
    fold = Fold()
    for record in records(path):
        fold.apply(record)
    return fold
