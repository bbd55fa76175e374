"""Owns the step from text cells to `model.DiskRow`, or to every problem that the row has.

A manifest may hold a million rows, and most differ in DiskId and SnapshotName alone. So a
compiled header checks those two on the spot and remembers the verdict on all other cells taken
together. Whatever that short way does not let through is judged by the long way, which alone
decides what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from batchsnap.manifest import cells as law
from batchsnap.manifest.columns import TAG_PREFIX, meant, recognise, trimmed
from batchsnap.model import DiskRow, Problem

NO_ID = "empty; a row needs the id of a disk or of a backup point"
_FOUND_MAX = 8  # columns named where one is missing
_MEMO_MAX = 4096  # remembered combinations; beyond it the memory starts anew


class _Shared(NamedTuple):
    """What the cells beside ids and name came to."""

    region: str
    profile: str
    deadline: str
    disk_usage: str
    tags: law.Tags


class Header:
    """The columns of one manifest, compiled. `row(cells, line)` judges one line.

    `row` returns a DiskRow, or the list of the line's problems; the list is empty for a line
    whose every cell is blank, which is no row at all.
    """

    def __init__(
        self, names: Sequence[str], *, source: str, line: int = 1, region: str = ""
    ) -> None:
        """`region` is for rows that name none. `problems` and `usable` say how well these column
        names make a header."""
        names = list(names)
        while names and not trimmed(names[-1]):
            names.pop()
        self.source = source
        self.width = len(names)
        self.region = region
        self.ignored: list[str] = []
        self.problems: list[Problem] = []
        self.places: dict[str, int] = {}  # column -> index of its cell
        suspects = self._place(names, line)
        self.usable = "DiskId" in self.places or "DiskBackupId" in self.places
        if not self.usable and not suspects & {"DiskId", "DiskBackupId"}:
            self._complain(line, "", _no_id(names))
        # Said once for the header and not again for each of its rows.
        self._region_said = not region and not {"Region", "Zone"} & self.places.keys()
        if self._region_said and self.usable and not suspects & {"Region", "Zone"}:
            self._complain(
                line,
                "Region",
                f"no Region or Zone column{_found(names)}; add one, or give --region for all rows",
            )
        self.row = self._compiled()

    def _complain(self, line: int, column: str, what: str) -> None:
        self.problems.append(Problem(self.source, line, column, what))

    def _place(self, names: Sequence[str], line: int) -> set[str]:
        """Fill `places` and `ignored`; the columns that misspelt headers were meant for."""
        suspects: set[str] = set()
        for index, name in enumerate(names):
            column = recognise(name)
            label = trimmed(name)
            if column in self.places:
                what = f"column {column} is there twice (cells {self.places[column] + 1} and "
                self._complain(line, column, what + f"{index + 1}); leave one out")
            elif column == TAG_PREFIX:
                self._complain(line, label, "the tag has no key; name the column tag:KEY")
            elif column:
                self.places[column] = index
            elif suspect := meant(name):
                suspects.add(suspect)
                what = f"unknown column {law.shown(label)}; if {suspect} is meant, write it so, "
                self._complain(line, label, what + "otherwise give it a name less alike")
            elif label:
                self.ignored.append(label)
        return suspects

    def _compiled(self) -> Callable[[Sequence[str], int], DiskRow | list[Problem]]:
        """The short way, its every name a local of the closure."""
        width = self.width
        disk_at, backup_at, name_at = (
            self.places.get(column, -1) for column in ("DiskId", "DiskBackupId", "SnapshotName")
        )
        shared_at = [at for at in self.places.values() if at not in (disk_at, backup_at, name_at)]
        key_of: Callable[[Sequence[str]], Any] = (
            itemgetter(*shared_at) if shared_at else lambda _cells: ""
        )
        memo: dict[Any, _Shared] = {}
        recall = memo.get
        is_disk = law.DISK_ID.fullmatch
        is_backup = law.DISK_BACKUP_ID.fullmatch
        name_max = law.NAME_MAX_BYTES
        make = tuple.__new__
        judge = self._judge

        def row(cells: Sequence[str], line: int) -> DiskRow | list[Problem]:
            if len(cells) == width and (shared := recall(key_of(cells))) is not None:
                disk = cells[disk_at] if disk_at >= 0 else ""
                backup = cells[backup_at] if backup_at >= 0 else ""
                name = cells[name_at].strip() if name_at >= 0 else ""
                if (
                    (is_disk(disk) if disk else backup)
                    and (not backup or is_backup(backup))
                    and (
                        not name
                        or (len(name) <= name_max and name.isascii() and name.isprintable())
                    )
                ):
                    region, profile, deadline, usage, tags = shared
                    return make(
                        DiskRow,
                        (line, disk, backup, region, profile, name, deadline, usage, tags, ""),
                    )
            judged, shared = judge(cells, line)
            if shared is not None:
                if len(memo) >= _MEMO_MAX:
                    memo.clear()
                memo[key_of(cells)] = shared
            return judged

        return row

    def _judge(
        self, cells: Sequence[str], line: int
    ) -> tuple[DiskRow | list[Problem], _Shared | None]:
        """The long way: a row or all its problems, and what may be remembered."""
        texts = [cell.strip() for cell in cells]
        if not any(texts):
            return [], None
        if len(texts) < self.width or any(texts[self.width :]):
            return [Problem(self.source, line, "", _ragged(texts, self.width))], None

        def cell(column: str) -> str:
            at = self.places.get(column)
            return "" if at is None else texts[at]

        disk, backup, name = cell("DiskId"), cell("DiskBackupId"), cell("SnapshotName")
        flaws: list[tuple[str, str]] = []
        if not disk and not backup:
            column = "DiskId" if "DiskId" in self.places else "DiskBackupId"
            flaws.append((column, NO_ID))
        if disk:
            flaws.append(("DiskId", law.disk_id_flaw(disk)))
        if backup:
            flaws.append(("DiskBackupId", law.disk_backup_id_flaw(backup)))
        shared, shared_flaws = self._judge_shared(cell)
        flaws += [*shared_flaws, ("SnapshotName", law.name_flaw(name))]
        problems = [Problem(self.source, line, column, what) for column, what in flaws if what]
        whole = len(cells) == self.width and not any(what for _column, what in shared_flaws)
        row = DiskRow(
            line,
            disk,
            backup,
            shared.region,
            shared.profile,
            name,
            shared.deadline,
            shared.disk_usage,
            shared.tags,
        )
        return problems or row, shared if whole else None

    def _judge_shared(self, cell: Callable[[str], str]) -> tuple[_Shared, list[tuple[str, str]]]:
        """Everything but ids and name, and (column, flaw) pairs, some of them without a flaw."""
        flaws: list[tuple[str, str]] = []
        region = self._region_of(cell("Region"), cell("Zone"), flaws)
        profile = cell("Profile")
        flaws.append(("Profile", law.profile_flaw(profile)))
        deadline = usage = ""
        if text := cell("Deadline"):
            deadline, flaw = law.parse_deadline(text)
            flaws.append(("Deadline", flaw))
        if text := cell("DiskUsage"):
            usage, flaw = law.parse_disk_usage(text)
            flaws.append(("DiskUsage", flaw))
        pairs, tag_flaws = law.parse_tags(cell("Tags"))
        flaws += [("Tags", flaw) for flaw in tag_flaws]
        for column in self.places:
            if column.startswith(TAG_PREFIX) and (value := cell(column)):
                pairs.append((column.removeprefix(TAG_PREFIX), value))
        for key, flaw in law.tag_flaws(pairs):
            column = TAG_PREFIX + key
            flaws.append((column if column in self.places else "Tags", flaw))
        return _Shared(region, profile, deadline, usage, tuple(pairs)), flaws

    def _region_of(self, region: str, zone: str, flaws: list[tuple[str, str]]) -> str:
        if zone:
            flaws.append(("Zone", law.zone_flaw(zone)))
        form = law.ZONE.fullmatch(zone)
        of_zone = form[1] if form else ""
        if region:
            flaw = law.region_flaw(region)
            if not flaw and of_zone and of_zone != region:
                flaw = f"{law.shown(region)} and Zone {law.shown(zone)} differ; leave one out"
            flaws.append(("Region", flaw))
        elif not zone and not self.region and not self._region_said:
            flaws.append(("Region", "empty; give the disk's region, or --region for all rows"))
        return region or of_zone or self.region


def _no_id(names: Sequence[str]) -> str:
    if any(law.DISK_ID.fullmatch(name.strip()) for name in names):
        return "the first line holds a disk id; put a line with column names above: DiskId,Region"
    return (
        f"no DiskId or DiskBackupId column{_found(names)}; the first line names the columns: "
        "DiskId,Region"
    )


def _found(names: Sequence[str]) -> str:
    """The columns that are there, so that a person sees which one was meant."""
    there = [law.shown(trimmed(name)) for name in names if trimmed(name)]
    if not there:
        return ""
    more = f" and {len(there) - _FOUND_MAX} more" if len(there) > _FOUND_MAX else ""
    return f" among {', '.join(there[:_FOUND_MAX])}{more}"


def _ragged(texts: Sequence[str], width: int) -> str:
    if texts[0].startswith("#"):
        return law.COMMENT
    what = f"{len(texts)} cell{'s' * (len(texts) != 1)} where the header has {width}"
    if len(texts) < width:
        return f"{what}; write empty cells where there is no value"
    extra = law.shown(next(filter(None, texts[width:])))
    return f"{what}; quote a value that holds the delimiter (the first too many is {extra})"


def deadline_problem(
    row: DiskRow, earliest: datetime | str, *, source: str = "-"
) -> Problem | None:
    """What is wrong with a deadline before `earliest`, or None.

    `earliest` is the first moment that the cloud takes: one day after the row is forecast to be
    sent, as an aware datetime or as the canonical text.
    """
    if isinstance(earliest, str):
        earliest = datetime.fromisoformat(earliest)
    bound = law.deadline_text(earliest)
    # Canonical texts are of one width and zone, so they sort as the moments do.
    if not row.deadline or row.deadline >= bound:
        return None
    sending = law.deadline_text(earliest - timedelta(days=1))
    why = "is past" if row.deadline < sending else "is less than a day ahead"
    what = f"{row.deadline} {why} when this row is sent (forecast {sending}); "
    return Problem(source, row.line, "Deadline", what + f"it must be {bound} or later")
