"""What a process owns of a quota, and the records of several that become durable together."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from batchsnap.errors import LedgerError
from batchsnap.postgres.door import POOLED
from batchsnap.postgres.lease import Clocks, Lease, Moment

TAKEN = "another process owns this quota now"
REPLACED = (
    "the database's server was replaced (a failover or a restore): the quota is claimed anew, and "
    "the cloud is asked before anything is sent"
)


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

    def judge(self, newest: int | None, locks: set[int], sent: Moment) -> None:
        """What a heartbeat that was sent at `sent` tells of it: the number of its newest record,
        and the locks that the session has. Only if both are ours is the lease renewed.

        Raises:
            LedgerError: the lock went without a new owner, so locks do not hold here.
        """
        if newest != self.durable:
            self.end(TAKEN)
        elif self.lock not in locks:
            raise LedgerError(
                f"the lock of {self.what} is not this session's any more, though nobody ended it: "
                f"{POOLED}"
            )
        else:
            self.lease.renew(sent)

    def end(self, why: str) -> None:
        """It is lost; nothing of it is written any more."""
        if not self.lease.ended:
            self.lease.end(why)
            self.on_end(why)


class Batch:
    """Records that become durable together: once somebody waits for them, or with the next
    heartbeat."""

    def __init__(self, on_wanted: Callable[[], None] = lambda: None) -> None:
        self.entries: list[tuple[Hold, int, str]] = []
        self.failed: dict[int, int] = {}  # by quota
        self.wanted = False
        self.done = anyio.Event()
        self._on_wanted = on_wanted

    async def written(self) -> None:
        """Wait until they are durable, or lost with their quotas."""
        if not self.wanted:
            self.wanted = True
            self._on_wanted()
        await self.done.wait()

    def of(self, hold: Hold) -> Batch:
        """Its part of one quota."""
        part = Batch()
        part.entries = [entry for entry in self.entries if entry[0] is hold]
        if hold.quota in self.failed:
            part.failed = {hold.quota: self.failed[hold.quota]}
        return part

    def leave(self, hold: Hold) -> None:
        """Without one quota: its part is written, or lost."""
        self.entries = [entry for entry in self.entries if entry[0] is not hold]
        self.failed.pop(hold.quota, None)
