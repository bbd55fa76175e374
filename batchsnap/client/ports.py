"""The seam: what the engine needs of the world, and what runs a job.

Work is divided by quota, so whoever owns a quota paces it alone. Another executor (many machines)
replaces `local` and brings its own RecordSink; nothing else of the engine changes.
"""

from __future__ import annotations

from typing import Any, Protocol

from batchsnap.clock import Clock
from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import LedgerUnwritable
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.model import Departure, Fault, Quota, Reply, SignedRequest

__all__ = ["Clock", "CredentialSource", "Departure", "Gate", "Gates", "RecordSink", "Send"]


class Send(Protocol):
    """Sends one signed request once and tells what came back; raises nothing remote."""

    async def send(
        self, request: SignedRequest, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        """`start` is asked for leave when the connection is there, directly before the bytes are
        written, and told directly after."""
        ...


class Gate(Protocol):
    """Where a token is waited for."""

    @property
    def rate_per_s(self) -> float: ...

    async def start(self) -> int:
        """Return when the next start is lawful; the number is its token.

        Raises:
            Shut: there will be none.
        """
        ...

    def leave(self, token: int) -> bool:
        """May the call of that start leave now? If so it is dated now; False where it came too
        late and needs another."""
        ...

    def left(self, token: int) -> None:
        """The bytes of that start have just been written: it is dated anew, with now."""
        ...

    def replied(self, token: int, *, throttled: bool) -> None:
        """The call of that start is over, or was never made."""
        ...

    def pause(self, seconds: float) -> None:
        """Start nothing for so long."""
        ...


class Gates(Protocol):
    """The one gate of each quota."""

    def of(self, quota: Quota) -> Gate: ...


class CredentialSource(Protocol):
    """Credentials by profile, refreshed before they expire.

    Raises:
        CredentialsError: there are none.
    """

    async def get(self, profile: str) -> Credential: ...

    def invalidate(self, profile: str) -> None: ...


class RecordSink(Protocol):
    """Where records go. A send waits for `durable` of its own intent.

    After `failure` is set nothing may be sent any more.
    """

    @property
    def fold(self) -> Fold: ...

    @property
    def failure(self) -> LedgerUnwritable | None: ...

    def append(self, record: Record) -> Any:
        """Take a record; the handle is for `durable`.

        Raises:
            LedgerUnwritable, IllegalMove
        """
        ...

    async def durable(self, group: Any) -> None:
        """Wait until the record is on disk.

        Raises:
            LedgerUnwritable
        """
        ...
