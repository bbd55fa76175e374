"""What a process owns of a quota, and the records of several that become durable together."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from batchsnap.postgres.lease import Clocks, Lease

TAKEN = "another process owns this quota now"


class Hold:
    """One quota that this process owns: its lock, its numbers, its lease."""

    def __init__(self, quota: int, lock: int, seq: int, clocks: Clocks, what: str) -> None:
        """`seq` is that of our own `claimed`, which is durable."""
        self.quota = quota
        self.lock = lock
        self.what = what  # for people
        self.seq = seq  # of the latest that was appended
        self.durable = seq
        self.lease = Lease(clocks)
        self.on_end: Callable[[str], None] = lambda _: None

    def end(self, why: str) -> None:
        """It is lost; nothing of it is written any more."""
        if not self.lease.ended:
            self.lease.end(why)
            self.on_end(why)


class Group:
    """Records that become durable together."""

    def __init__(self) -> None:
        self.entries: list[tuple[Hold, int, str]] = []
        self.failed: dict[int, int] = {}  # by quota
        self.done = anyio.Event()

    def of(self, hold: Hold) -> Group:
        """Its part of one quota."""
        part = Group()
        part.entries = [entry for entry in self.entries if entry[0] is hold]
        if hold.quota in self.failed:
            part.failed = {hold.quota: self.failed[hold.quota]}
        return part

    def leave(self, hold: Hold) -> None:
        """Without one quota: its part is written."""
        self.entries = [entry for entry in self.entries if entry[0] is not hold]
        self.failed.pop(hold.quota, None)
