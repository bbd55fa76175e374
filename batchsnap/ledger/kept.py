"""The one record that is kept of each of some rows, small: very many rows may be in doubt at once.

A row whose call is out has its intent as it was written, in one place for all who keep: there are
few of those, and packing costs time. Of all others only the fields that somebody still asks for are
kept, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

import orjson

from batchsnap.ledger.record import Record


class Kept(Mapping[str, Record]):
    """Records by the key of their row. Nobody changes what it gives."""

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
