"""Owns CSV and TSV: lines of text -> rows, each with the number of the line it begins on."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from batchsnap.manifest.cells import COMMENT
from batchsnap.manifest.rows import Header
from batchsnap.model import DiskRow, Problem

DELIMITERS = ",;\t|"  # where two are as common, the earlier one
_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)  # spreadsheets write it first
CELL_MAX_CHARS = csv.field_size_limit()  # 131,072 unless somebody raised it


def delimiter_of(header: str) -> str:
    """The commonest delimiter of the header line, outside quotes."""
    bare = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=bare.count)


def rows(
    lines: Iterator[str], *, source: str, region: str, ignored: list[str]
) -> Iterator[DiskRow | Problem]:
    """One pass. `lines` keep their ends; `ignored` is given the names of ignored columns.

    A fault of quoting is a Problem of its line, and reading goes on with the next one.
    """
    skipped = 0
    first = delimiter = ""
    for line in lines:
        first = line.lstrip("\ufeff")
        told = _SEPARATOR.fullmatch(first.strip(" \r\n"))
        if first.strip() and not told:
            break
        delimiter = told[1] if told else delimiter
        skipped += 1
    if first.lstrip().startswith("#"):
        return iter((Problem(source, skipped + 1, "", COMMENT),))
    reader = csv.reader(
        chain([first], lines),
        delimiter=delimiter or delimiter_of(first),
        strict=True,
        skipinitialspace=True,
    )
    try:
        names = next(reader)
    except csv.Error as error:
        return iter((_fault(error, source, skipped + 1, skipped + reader.line_num),))
    header = Header(names, source=source, line=skipped + 1, region=region)
    ignored += [name for name in header.ignored if name not in ignored]
    # chain, not one more generator: a million rows pass through here.
    return chain(header.problems, _body(reader, header, skipped) if header.usable else ())


def _body(reader: Any, header: Header, skipped: int) -> Iterator[DiskRow | Problem]:
    row = header.row
    ended = reader.line_num + skipped  # the line on which the row before ended
    empty = not header.problems
    while True:
        try:
            for cells in reader:
                found = row(cells, ended + 1)
                ended = reader.line_num + skipped
                if isinstance(found, DiskRow):
                    empty = False
                    yield found
                elif found:
                    empty = False
                    yield from found
            break
        except csv.Error as error:
            empty = False
            yield _fault(error, header.source, ended + 1, reader.line_num + skipped)
            ended = reader.line_num + skipped
            if _swallowed(error):
                break
    if empty:
        yield Problem(header.source, 0, "", "no rows below the header; name at least one disk")


def _swallowed(error: csv.Error) -> bool:
    """Whether an open quote took in what follows, so that no later line can be trusted."""
    return "field larger" in str(error) or "end of data" in str(error)


def _fault(error: csv.Error, source: str, began: int, ended: int) -> Problem:
    if _swallowed(error):
        what = f"a cell is never closed, or longer than {CELL_MAX_CHARS} characters; "
        return Problem(source, began, "", what + 'write a quote inside a quoted cell as ""')
    what = f"{error}; "
    if "expected after" in str(error):
        what = "text follows the closing quote of a cell; "
    return Problem(source, ended, "", what + 'write a quote inside a quoted cell as ""')
