"""Owns which encoding the bytes of a manifest are in, and the first place where they are not.

Without a byte order mark the choice is UTF-8, then GB18030 with a warning: spreadsheets of
Chinese Windows write it, and nearly every text that is not UTF-8 "is" it, hence the warning.
Detectors by letter frequency fail on lists that are ids for the most part.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

from batchsnap.errors import UsageError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_TEXT = (
    (b"PK\x03\x04", "a workbook (.xlsx) or archive", "soffice --headless --convert-to csv FILE"),
    (b"\xd0\xcf\x11\xe0", "an old workbook (.xls)", "soffice --headless --convert-to csv FILE"),
    (b"\x1f\x8b", "compressed", "gunzip -c FILE > fleet.csv"),
)
"""How files begin that people take for a CSV, what they are, and the line that converts them."""
_NUL_PATTERN_BYTES = 8  # four ASCII characters of UTF-16


class Position(NamedTuple):
    """Where text stops being text."""

    line: int  # 1-based
    what: str


class Encoding(NamedTuple):
    """How to decode the whole; with a `fault` nobody can."""

    name: str  # a Python codec; a mark may still stand before the first character
    warning: str  # "" or what the reader should know
    fault: Position | None
    guessed: bool = False  # another encoding could give other characters


def find(blocks: Callable[[], Iterable[bytes]], head: bytes, wanted: str | None) -> Encoding:
    """The encoding of the bytes that each call of `blocks` yields anew; `head` begins them.

    Raises:
        UsageError: `wanted` is no text encoding.
    """
    for magic, what, remedy in _NO_TEXT:
        if head.startswith(magic):
            why = f"{what}, not text, whatever its name says; convert it with {remedy}"
            return Encoding("utf-8", "", Position(1, why))
    if wanted:
        name = _checked(wanted)
        marked = _by_mark(head)
        codec = codecs.lookup(name).name
        if codec in {"utf-8", "utf-16"} and marked:
            name = marked
        elif codec == "utf-16":
            name = _by_nul_pattern(head) or "utf-16-le"
        return Encoding(name, "", first_fault(blocks(), name))
    sure = _by_mark(head) or _by_nul_pattern(head)
    fault = first_fault(blocks(), sure or "utf-8")
    if sure or fault is None or _NUL in fault.what:
        return Encoding(sure or "utf-8", "", fault)
    if first_fault(blocks(), "gb18030") is None:
        warning = (
            f"not UTF-8 (line {fault.line}), so read as GB18030; look at a few names in the plan, "
            f"and give --encoding if they are garbled"
        )
        return Encoding("gb18030", warning, None, guessed=True)
    return Encoding("utf-8", "", fault)


def first_fault(blocks: Iterable[bytes], encoding: str) -> Position | None:
    """The first line that cannot be decoded or holds NUL, or None. Constant memory."""
    decoder = codecs.getincrementaldecoder(encoding)()
    unified = io.IncrementalNewlineDecoder(decoder, translate=True)
    line = 1
    last = b""
    for block in chain(blocks, (last,)):
        try:
            text = unified.decode(block, final=block is last)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(encoding, "ignore")
            line += before.count("\n") + before.count("\r") - before.count("\r\n")
            wrong = error.object[error.start : error.start + 1].hex()
            what = f"byte 0x{wrong} is not {encoding} ({error.reason}); save the file as UTF-8, "
            return Position(line, what + "or name its encoding with --encoding")
        except UnicodeError as error:
            return Position(line, f"not {encoding}: {error}; name its encoding with --encoding")
        if "\0" in text:
            line += text.count("\n", 0, text.index("\0"))
            return Position(line, f"{_NUL}; this is not a text file, or damaged")
        line += text.count("\n")
    return None


_NUL = "a NUL character"


def _checked(encoding: str) -> str:
    try:
        " ".encode(encoding)
        codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError):
        raise UsageError(
            f"{encoding!r} is no text encoding. Use utf-8, utf-16, gb18030 or another that "
            f"Python knows."
        ) from None
    return encoding


def _by_mark(head: bytes) -> str:
    return next((name for mark, name in _MARKS if head.startswith(mark)), "")


def _by_nul_pattern(head: bytes) -> str:
    """UTF-16 of ASCII without a mark: every other byte is NUL."""
    start = head[:_NUL_PATTERN_BYTES]
    even, odd = start[::2], start[1::2]
    if len(start) < _NUL_PATTERN_BYTES or bool(any(even)) == bool(any(odd)):
        return ""
    if b"\0" in (even if any(even) else odd):
        return ""
    return "utf-16-le" if any(even) else "utf-16-be"
