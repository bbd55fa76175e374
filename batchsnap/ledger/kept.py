"""The one record that is kept of each of some rows, small: very many rows may be in doubt at once.

A row whose call is out has its record as it was written: there are few of those, and packing costs
time. Of all others only the fields that somebody still asks for are kept, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from batchsnap.ledger.record import Record


class Kept(Mapping[str, Record]):
    """Records by the key of their row. What it gives are copies."""

    def __init__(self, *fields: str) -> None:
        """`fields` are what outlives `pack`, beside the key."""
        self._fields = fields
        self._kept: dict[str, Record | bytes] = {}

    def put(self, key: str, record: Record) -> None:
        """Keep it whole, in the place of an earlier one of the row."""
        self._kept[key] = record

    def pack(self, key: str, record: Record | None = None) -> None:
        """Keep a part of it, or of what is there."""
        record = record or self._whole(key)
        if record is None:
            return
        part = {name: record[name] for name in self._fields if name in record}  # type: ignore
        # A copy: what orjson gives keeps the room that it was written in.
        self._kept[key] = bytes(memoryview(orjson.dumps(part)))

    def drop(self, key: str) -> None:
        self._kept.pop(key, None)

    def _whole(self, key: str) -> Record | None:
        record = self._kept.get(key)
        return None if isinstance(record, bytes) else record

    def __getitem__(self, key: str) -> Record:
        kept = self._kept[key]
        record: Record = orjson.loads(kept) if isinstance(kept, bytes) else kept
        record["key"] = key
        return record

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)
