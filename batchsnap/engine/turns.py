"""Rows of one disk go one after the other: whose turn it is, and who waits behind."""

from __future__ import annotations

from collections import deque

from batchsnap.engine.row import Row
from batchsnap.engine.strand import Strand


class Turns:
    """A row has its disk from its first attempt until it is at rest or left for another run."""

    def __init__(self) -> None:
        self._owner: dict[str, str] = {}  # disk -> key of the row that is at work on it
        self._behind: dict[str, deque[tuple[Strand, Row]]] = {}

    def take(self, row: Row) -> None:
        self._owner[row.disk_id] = row.key

    def waits(self, strand: Strand, row: Row) -> bool:
        """Whether another row has the disk; then this one is put behind it."""
        if self._owner.get(row.disk_id, row.key) == row.key:
            return False
        self._behind.setdefault(row.disk_id, deque()).append((strand, row))
        strand.unsettled += 1
        return True

    def leave(self, row: Row) -> None:
        """The row is done with its disk: the next one on it may go."""
        if self._owner.get(row.disk_id) == row.key:
            del self._owner[row.disk_id]
        behind = self._behind.get(row.disk_id)
        if not behind:
            return
        strand, following = behind.popleft()
        if not behind:
            del self._behind[row.disk_id]
        strand.unsettled -= 1
        strand.put_first(following)
