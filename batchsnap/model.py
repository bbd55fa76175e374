"""The frozen values of the walk: what passes from room to room, in the order of the walk.

Absent text is `""` inside the program and `null` on the wire and in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol


class Problem(NamedTuple):
    """Something wrong with a manifest, said so that it can be put right."""

    source: str  # file name, "-" for standard input
    line: int  # 1-based; 0 where the whole file is meant
    column: str  # "" where no single column is to blame
    what: str  # what is wrong, the value included, and what would be right

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{place}: {self.column}: {self.what}" if self.column else f"{place}: {self.what}"


class DiskRow(NamedTuple):
    """One manifest line, validated. A tuple because a manifest may hold a million."""

    line: int  # 1-based line (or array position) in the manifest
    disk_id: str  # "" where only a backup point is named
    disk_backup_id: str
    region: str
    profile: str  # "" means the run's own
    snapshot_name: str  # "" means from the template
    deadline: str  # "" or UTC as 2027-01-08T09:47:55+00:00
    disk_usage: str  # "", SYSTEM_DISK or DATA_DISK
    tags: tuple[tuple[str, str], ...]
    source_id: str = ""  # the snapshot that is to be copied; "" where one is to be made


class PlannedRequest(NamedTuple):
    """One snapshot to be made. `key` is the row's identity and outlives edits and restarts."""

    key: str
    line: int
    disk_id: str
    disk_backup_id: str
    region: str
    profile: str
    name: str  # the final SnapshotName
    named: bool  # the row brought this name; it is not unique by construction
    deadline: str
    disk_usage: str
    tags: tuple[tuple[str, str], ...]
    source_id: str = ""  # the snapshot that is to be copied; "" where one is to be made


RegionKey = tuple[str, str]
"""(profile, region): whose rows, and where."""


class Quota(NamedTuple):
    """What a gate stands for: the cloud counts calls by who asks, which door, which action."""

    source: str  # a digest of a permanent key's SecretId, or a temporary one's role
    host: str  # host[:port] of the endpoint
    action: str


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """Bytes ready to send, once, to `url`. Its repr shows no header."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


class Departure(Protocol):
    """The start of a call, which its sender asks before the bytes are written and tells after."""

    async def leave(self) -> None:
        """Return when the call may leave, and does.

        Raises:
            ConnectionAbortedError: it may not any more.
        """
        ...

    def left(self) -> None:
        """The bytes were just written."""
        ...


class Reply(NamedTuple):
    """Bytes came back."""

    status: int
    body: bytes
    date: float | None  # the server's Date header, Unix seconds
    latency_ms: float
    visible_after_s: float | None = None  # a simulator says so: its lists lag behind by so much


class FaultKind(StrEnum):
    """Ways in which no reply comes. `Fault.sent` says whether the cloud may have acted."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    CERTIFICATE = "certificate"  # unknown authority, expired, another name's
    PROXY_AUTH = "proxy_auth"  # the proxy wants a login (407)
    REFUSED = "refused_by_us"  # plain http to an address that is not loopback, and the like
    TIMEOUT = "timeout"
    RESET = "reset"
    GARBLED = "garbled"  # not HTTP, headers too large, body cut short
    TOO_LARGE = "too_large"  # body above the bound


class Fault(NamedTuple):
    """No (whole) reply came back."""

    kind: FaultKind
    sent: bool  # False only where surely no byte of the request left
    message: str  # nothing of what the other side sent
    latency_ms: float
    lasting: bool = False  # waiting won't help, and this host has answered nothing so far


class Verdict(StrEnum):
    """What a reply or fault means for the row. The table is in `cloud.faults`."""

    ACCEPTED = "ACCEPTED"
    THROTTLED = "THROTTLED"
    BUSY = "BUSY"
    BACKPRESSURE = "BACKPRESSURE"
    TRANSIENT = "TRANSIENT"
    IN_DOUBT = "IN_DOUBT"
    REJECTED = "REJECTED"
    SUSPECT = "SUSPECT"  # the row, or all of its scope: other rows will tell
    HALT = "HALT"


class Scope(StrEnum):
    """How far a ruling reaches, or may reach."""

    REGION = "region"
    ACCOUNT = "account"


class Ruling(NamedTuple):
    """A classified outcome: the verdict with all that the ledger should say of it."""

    verdict: Verdict
    code: str  # the cloud's code, or `fault.<kind>`, `http.<status>`, `reply.<flaw>`
    message: str
    request_id: str
    snapshot_id: str  # only with ACCEPTED
    scope: Scope | None  # with HALT, SUSPECT, and a REJECTED that may mean more than its row
