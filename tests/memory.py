"""A ledger in memory: the least that is a Store and a RecordSink."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from batchsnap.errors import LedgerError, LedgerLocked, LedgerUnwritable
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.ports import Store
from batchsnap.ledger.record import Record, encode
from batchsnap.ledger.replay import Fold


class MemoryStore:
    """A ledger by its name; it lasts as long as this object."""

    def __init__(self, name: str = "memory") -> None:
        self.label = self.name = name
        self.own_files: list[Path] = []
        self.kept: list[Record] = []
        self.held = False

    def exists(self) -> bool:
        return bool(self.kept)

    def open(self) -> MemorySink:
        if not self.kept:
            raise LedgerError(f"there is no {self.name}")
        return MemorySink(self)

    def find(self) -> MemorySink | None:
        return self.open() if self.kept else None

    def create(self, header: Record) -> MemorySink:
        if self.kept:
            raise LedgerLocked(f"another process has just created {self.name}")
        self.kept.append(header)
        return MemorySink(self)

    def records(self) -> Iterator[Record]:
        if not self.kept:
            raise LedgerError(f"there is no {self.name}")
        yield from list(self.kept)

    def follow(self) -> MemoryFollower:
        return MemoryFollower(self.kept)

    def digest(self, lines: int) -> str:
        return sha256(b"".join(map(encode, self.kept[:lines]))).hexdigest()

    def held(self) -> bool | None:
        return None

    def beside(self, word: str) -> list[tuple[str, Store]]:
        return []

    def parts(self) -> list[str]:
        return []

    def warnings(self) -> list[str]:
        return ["it dies with the process"]


class MemoryFollower:
    def __init__(self, kept: list[Record]) -> None:
        self._kept = kept
        self._seen = 0

    def more(self) -> list[Record] | None:
        found = self._kept[self._seen :]
        self._seen += len(found)
        return found


class MemorySink:
    """What is appended is durable at once."""

    was_cut = False
    lost = ""
    gap = Gap.NONE

    def __init__(self, store: MemoryStore) -> None:
        if store.held:
            raise LedgerLocked(f"another is at work on {store.name}")
        store.held = True
        self.label = store.label
        self.fold = Fold()
        self.failure: LedgerUnwritable | None = None
        self.taps: list[Callable[[Record], None]] = []
        self._store = store
        for record in store.kept:
            self.fold.apply(record)

    def append(self, record: Record) -> Any:
        if self.failure is not None:
            raise self.failure
        self.fold.apply(record)
        self._store.kept.append({"seq": len(self._store.kept), "synced": 0, **record})
        for tap in self.taps:
            tap(record)

    async def durable(self, group: Any) -> None:
        if self.failure is not None:
            raise self.failure

    def resume(self, record: Record) -> None:
        self.append(record)

    def records(self) -> Iterator[Record]:
        return self._store.records()

    async def commit(self) -> None:
        """Nothing is left to be done."""

    def close(self) -> None:
        """Nothing waits for it."""

    def release(self) -> None:
        self._store.held = False
