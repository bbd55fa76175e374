"""One record: its line, the constructor that fixes the order of fields, and the small form in which
very many are kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Protocol, TypedDict
from zlib import crc32

import orjson

from batchsnap.lifecycle import RUN_EVENTS, Event

VERSION = 1
_AT_ONCE = 64  # lines; of many more the records don't stay in the cache until they are used
_CRC = b',"crc":'  # no string holds it: a quote inside one is written \"


class Home(TypedDict, total=False):
    """Which file a ledger is: all of it together names one file and none of its copies."""

    path: str
    inode: int
    generation: int  # absent where the file system tells none


class Record(TypedDict, total=False):
    """A ledger line as a value; `batchsnap.ledger` says what each field holds."""

    seq: int
    synced: int
    event: str
    key: str
    disk_id: str | None
    disk_backup_id: str | None
    region: str | None
    profile: str | None
    source_id: str
    attempt: int
    at: str
    snapshot_name: str
    snapshot_id: str
    request_id: str
    baseline: list[str]
    code: str
    message: str
    verdict: str
    scope: str
    not_before: str
    sent_at: str
    latency_ms: float
    found: bool
    final: bool
    evidence: str
    snapshot_ids: list[str]
    # of the whole run
    v: int
    run_id: str
    tool: str
    manifest: dict[str, Any]
    endpoint: str
    simulated: bool
    settings: dict[str, Any]
    copy_to: str
    home: Home
    recovered: dict[str, Any]
    exit: int
    superseded_by: str
    reason: str
    # of a quota's owner, where many machines work on a run
    source: str
    host: str
    worker: str
    profiles: list[str]
    rows: int
    server: dict[str, str]
    retry_failed: bool
    ended: str | None
    crc: int


class RowLike(Protocol):
    """What identifies a row in every record of it."""

    @property
    def key(self) -> str: ...
    @property
    def disk_id(self) -> str: ...
    @property
    def disk_backup_id(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def profile(self) -> str: ...
    @property
    def source_id(self) -> str: ...


def row_record(event: Event, row: RowLike, attempt: int, at: str, **details: Any) -> Record:
    """A record of one row. `details` that are None or "" are left out."""
    record: dict[str, Any] = {
        "event": event,
        "key": row.key,
        "disk_id": row.disk_id or None,
        "disk_backup_id": row.disk_backup_id or None,
        "region": row.region or None,
        "profile": row.profile or None,
        "attempt": attempt,
        "at": at,
    }
    if row.source_id:
        record["source_id"] = row.source_id
    for name, value in details.items():
        if value is not None and value != "":
            record[name] = value
    return record  # type: ignore[return-value]


def of_later_version(record: Record) -> bool:
    """Whether it tells of the run what this version does not know; it moves no row."""
    return "key" not in record and record["event"] not in RUN_EVENTS


def of_whole_run(record: Record) -> bool:
    """Whether a row's record is a brake's, told with a row that it says nothing about."""
    return record.get("scope") == "run"


def encode(record: Record) -> bytes:
    """The record's line, newline included."""
    body = orjson.dumps(record)
    return b'%b,"crc":%d}\n' % (body[:-1], crc32(body))


def decode(line: bytes) -> Record | None:
    """The record of a line with its newline, or None where it is damaged."""
    if not _is_whole(line):
        return None
    try:
        return orjson.loads(line)  # type: ignore[no-any-return]
    except ValueError:
        return None


def decoded(lines: Iterable[bytes]) -> Iterator[tuple[bytes, Record | None]]:
    """Each line with what `decode` gives of it. Whole lines are parsed many at a time, so that a
    long ledger is read in four fifths of the time: each is an object, and all between brackets are
    a list of as many.
    """
    rest = iter(lines)
    while some := list(islice(rest, _AT_ONCE)):
        records: Iterable[Record | None] = map(decode, some)
        if all(map(_is_whole, some)):
            with suppress(ValueError):  # of nothing that `encode` wrote
                records = orjson.loads(b"[%b]" % b",".join(some))
        yield from zip(some, records, strict=True)


def _is_whole(line: bytes) -> bool:
    """Whether all of a line holds against its crc: what stands before the member by the number, the
    rest by being written as `encode` writes it."""
    body, _, tail = line.rpartition(_CRC)
    return tail == b"%d}\n" % crc32(b"}", crc32(body))


def stamp(unix_s: float) -> str:
    """UTC with milliseconds, as the ledger writes it: 2026-11-24T08:16:13.042Z."""
    return _stamp_ms(round(unix_s * 1e6) // 1000)


@lru_cache(maxsize=64)  # many records are of one moment
def _stamp_ms(unix_ms: int) -> str:
    second, millisecond = divmod(unix_ms, 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=8)
def _second(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%S}"


def unstamp(text: str) -> float:
    """Unix seconds of a `stamp`."""
    return datetime.fromisoformat(text).timestamp()


class Kept(Mapping[str, Record]):
    """The one record that is kept of each of some rows, by its key: very many may be in doubt at
    once. Nobody changes what it gives.

    A row whose call is out has its intent as it was written, in one place for all who keep: there
    are few of those, and packing costs time. Of all others only the fields that somebody still asks
    for are kept, as JSON.
    """

    def __init__(self, out: Mapping[str, Record], *fields: str) -> None:
        """`out`: the intents of rows whose call is out, none of which is packed; `fields` are what
        is kept of the others, beside the key."""
        self._out = out
        self._fields = fields
        self._packed: dict[str, bytes] = {}

    def pack(self, key: str, record: Record) -> None:
        """Keep a part of it, in the place of an earlier one of the row."""
        part = {name: record[name] for name in self._fields if name in record}  # type: ignore
        # A copy: what orjson gives keeps the room that it was written in.
        self._packed[key] = bytes(memoryview(orjson.dumps(part)))

    def drop(self, key: str) -> None:
        self._packed.pop(key, None)

    def __getitem__(self, key: str) -> Record:
        packed = self._packed.get(key)
        if packed is None:
            return self._out[key]
        record: Record = orjson.loads(packed)
        record["key"] = key
        return record

    def __contains__(self, key: object) -> bool:
        return key in self._packed or key in self._out

    def __iter__(self) -> Iterator[str]:
        return chain(self._packed, self._out)

    def __len__(self) -> int:
        return len(self._packed) + len(self._out)
