"""Owns JSON: JSON Lines, arrays, and what DescribeDisks prints -> rows.

A row's `line` is the line it begins on. Where a file keeps many rows on one line, which only
machines write, it is the row's place among them instead, and a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any, Protocol

import orjson

from batchsnap.manifest.cells import shown
from batchsnap.manifest.objects import element_lines, flat, region_of
from batchsnap.manifest.rows import NO_ID, Header
from batchsnap.model import DiskRow, Problem

DOCUMENT_MAX_CHARS = 256 * 2**20  # a whole document is held in memory; JSON Lines are not
_HEADERS_MAX = 256
_NEXT_DOCUMENT = re.compile(r"(?<=\n[}\]])\s*\n(?=[{\[])")  # pages appended to one file
_ONE_LINE = "many rows share a line, so the numbers in problems count rows, not lines"
_OWN_TAGS = "the disks' own Tags and DiskUsage were not taken over; use --tag, or columns of a CSV"


class Text(Protocol):
    """What is asked of a text stream."""

    def readline(self, limit: int, /) -> str: ...

    def read(self, limit: int, /) -> str: ...


def rows(
    text: Text, *, source: str, region: str = "", ignored: list[str], notes: list[str]
) -> Iterator[DiskRow | Problem]:
    """One pass. `ignored` and `notes` are given, once each, what the plan should name."""
    reading = _Reading(source, region, ignored, notes)
    line, first = 1, text.readline(DOCUMENT_MAX_CHARS + 1).lstrip("\ufeff")
    while first and not first.strip():
        line, first = line + 1, text.readline(DOCUMENT_MAX_CHARS + 1)
    if len(first) > DOCUMENT_MAX_CHARS:
        yield reading.too_large()
    elif _stands_alone(first):
        while first:
            if first.strip():
                yield from reading.one_line(first, line)
            line, first = line + 1, text.readline(DOCUMENT_MAX_CHARS + 1)
    else:
        rest = text.read(DOCUMENT_MAX_CHARS + 1 - len(first))
        if len(first) + len(rest) > DOCUMENT_MAX_CHARS:
            yield reading.too_large()
            return
        whole = first + rest
        start = 0
        for gap in (*_NEXT_DOCUMENT.finditer(whole), None):
            end, following = gap.span() if gap else (len(whole), len(whole))
            yield from reading.document(whole[start:end], line)
            line += whole.count("\n", start, following)
            start = following
    yield from reading.ending()


def _stands_alone(line: str) -> bool:
    """Whether a first line is a JSON value of its own, be it a faulty one."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        bare = line.strip()
        return len(bare) > 2 and bare.startswith("{") and bare.endswith("}")
    return True


class _Reading:
    """One pass over one file: compiled headers, and the counts that show a truncated export."""

    def __init__(self, source: str, region: str, ignored: list[str], notes: list[str]) -> None:
        self.source = source
        self.region = region
        self.ignored = ignored
        self.notes = notes
        self.headers: dict[tuple[str, ...], Header] = {}
        self.count = 0  # rows met
        self.totals = Totals()
        self.flawed = False  # something was wrong beside the rows

    def one_line(self, text: str, line: int) -> Iterator[DiskRow | Problem]:
        """A line that is a row, or a whole reply or array that a machine wrote on one line."""
        _, elements = yield from self._parsed(text, line)
        if len(elements) > 1:
            self._note(_ONE_LINE)
        for element in elements:
            self.count += 1
            yield from self.row(element, self.count)

    def document(self, text: str, line: int) -> Iterator[DiskRow | Problem]:
        """A value over several lines, the first of them `line`."""
        value, elements = yield from self._parsed(text, line)
        bare = isinstance(value, list) and not _are_replies(value)
        at_lines = element_lines(text, "" if bare else "DiskSet")
        for element in elements:
            self.count += 1
            # Lines are counted for objects alone; anything else is a problem in any case.
            offset = next(at_lines, 1) if isinstance(element, dict) else 1
            yield from self.row(element, line + offset - 1)

    def _parsed(
        self, text: str, line: int
    ) -> Generator[DiskRow | Problem, None, tuple[Any, list[Any]]]:
        """(the value, its elements) of JSON that begins on `line`. An object that is a row by
        itself is taken at once, and has no elements; neither has what is no JSON."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            at = line + error.lineno - 1
            yield self._problem(at, f"not JSON: {error.msg} (column {error.colno})")
            return None, []
        if isinstance(value, dict) and not _is_reply(value):
            self.count += 1
            yield from self.row(value, line)
            return value, []
        return value, (yield from self._elements(value, line))

    def _elements(self, value: Any, line: int) -> Generator[Problem, None, list[Any]]:
        """Yields what is wrong with an array or a reply; returns its rows."""
        if isinstance(value, list):
            if not _are_replies(value):
                return value
            found: list[Any] = []
            for reply in value:  # pages, as jq -s makes them one array
                found += yield from self._elements(reply, line)
            return found
        if isinstance(value, dict) and (output := _terraform_output(value)):
            yield self._problem(line, output)
            return []
        body = value.get("Response", value) if isinstance(value, dict) else None
        if not isinstance(body, dict):
            yield self._problem(line, f"{shown(str(value))} is neither an object nor an array")
            return []
        if isinstance(error := body.get("Error"), dict):
            said = f"{error.get('Code', '')}: {error.get('Message', '')}"
            yield self._problem(
                line, f"the cloud's answer is an error, not disks ({shown(said)}); export again"
            )
            return []
        disks = body.get("DiskSet")
        if not isinstance(disks, list):
            yield self._problem(line, "a reply without DiskSet; save what DescribeDisks answers")
            return []
        self.totals.add(body.get("TotalCount"), disks)
        return disks

    def row(self, value: Any, line: int) -> Iterator[DiskRow | Problem]:
        """One object's row, or all its problems."""
        if not isinstance(value, dict):
            what = f'{shown(str(value))} is not an object such as {{"DiskId": "disk-…"}}'
            yield self._problem(line, what)
            return
        names, cells, flaws, left_out = flat(value)
        self._ignore(left_out)
        if "Tags" in left_out:
            self._note(_OWN_TAGS)
        header = self.headers.get(names)
        if header is None:
            if len(self.headers) >= _HEADERS_MAX:
                self.headers.clear()
            header = Header(names, source=self.source, line=line, region=self.region)
            self.headers[names] = header
            self._ignore(header.ignored)
        # Every row has a header of its own here, so each answers for it.
        problems = [problem._replace(line=line) for problem in header.problems]
        problems += [Problem(self.source, line, column, what) for column, what in flaws]
        yield from problems
        if not header.usable:
            return
        found = header.row(cells, line)
        if not isinstance(found, DiskRow):
            # A blank line of a table is no row, but an object is one, however empty.
            yield from found or ([] if problems else [Problem(self.source, line, "DiskId", NO_ID)])
        elif not problems:
            yield found

    def ending(self) -> Iterator[Problem]:
        """What is wrong where the cloud has more disks than the file, or the file none."""
        for what in self.totals.shortfalls():
            yield self._problem(0, what)
        if not self.count and not self.flawed:
            yield self._problem(0, "no rows; name at least one disk")

    def too_large(self) -> Problem:
        what = f"a JSON document above {DOCUMENT_MAX_CHARS >> 20} MiB; "
        return self._problem(0, what + "make it JSON Lines: jq -c '.[]' or jq -c '.DiskSet[]'")

    def _problem(self, line: int, what: str) -> Problem:
        self.flawed = True
        return Problem(self.source, line, "", what)

    def _ignore(self, names: list[str]) -> None:
        self.ignored += [name for name in names if name not in self.ignored]

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class Totals:
    """TotalCount of every reply against the disks that are here, region by region: a file may hold
    the pages of several regions, and one region's rows make up for no other's.

    Of a region's pages the largest TotalCount counts, since the list may change between two pages.
    A page without disks belongs to whichever region counts as many.
    """

    def __init__(self) -> None:
        self._told: dict[str, int] = {}  # region -> the largest TotalCount
        self._here: dict[str, set[str]] = {}  # region -> ids of its disks
        self._empty = 0  # the largest TotalCount of pages without disks

    def add(self, total: Any, disks: list[Any]) -> None:
        """Count a page: the TotalCount that it tells, and its disks."""
        told = total if isinstance(total, int) else 0
        regions = {region_of(disk) for disk in disks}
        if not regions:
            self._empty = max(self._empty, told)
        for region in regions:
            self._told[region] = max(self._told.get(region, 0), told)
        for disk in disks:
            if isinstance(disk, dict):
                self._here.setdefault(region_of(disk), set()).add(str(disk.get("DiskId")))

    def shortfalls(self) -> Iterator[str]:
        """What is wrong where the cloud has more disks than the file."""
        told = dict(self._told)
        if self._empty > max(told.values(), default=0):
            told[""] = self._empty
        for region, total in sorted(told.items()):
            here = len(self._here.get(region, ()))
            if total > here:
                where = f" of {region}" if region else ""
                yield (
                    f"TotalCount is {total} but {here} disks are here{where}: pages are missing; "
                    "append them (--Limit 100 --Offset 100, 200, …) to the file, or let batchsnap "
                    "discover write it"
                )


def _is_reply(value: dict[str, Any]) -> bool:
    known = "DiskSet" in value or "Response" in value or {"TotalCount", "RequestId"} <= set(value)
    return known or bool(_terraform_output(value))


def _are_replies(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(each, dict) and _is_reply(each) for each in values)


def _terraform_output(value: dict[str, Any]) -> str:
    """What to say of `terraform output -json`, each of whose values has a type and a value."""
    if not value or not all(
        isinstance(each, dict) and {"sensitive", "value"} <= set(each) for each in value.values()
    ):
        return ""
    name = next(
        (n for n, each in value.items() if isinstance(each["value"], list)), next(iter(value))
    )
    return (
        "the outputs of terraform, not disks; make rows of the one that lists them: terraform "
        f"output -json {name} | jq -c '.[] | {{DiskId: .}}' > fleet.jsonl (with --region, or a "
        "Region beside each DiskId)"
    )
