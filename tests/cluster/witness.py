"""What the cloud saw, call by call, and of which process: a judge that trusts no ledger."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from batchsnap.cloud.tc3 import Credential
from batchsnap.simulator.server import Simulator
from tests.cluster.fleet import cloud_of
from tests.process import Cloud

CREATE = "CreateSnapshot"
_CREDENTIAL = re.compile(r"Credential=([^/]+)/")


def source_of(secret_id: str) -> str:
    return Credential(secret_id, "", "", "").quota_source


class Start(NamedTuple):
    """A create call at its arrival."""

    at: float  # unix seconds
    source: str  # whose key it is of, as the ledger names it
    pid: int  # 0 where no process of the team had the connection any more
    disk: str


class Claim(NamedTuple):
    at: float
    source: str
    pid: int


@dataclass
class Witness:
    """Create calls in the order of their arrival."""

    pids: Callable[[], Iterable[int]]
    starts: list[Start] = field(default_factory=list)
    _owners: dict[Any, int] = field(default_factory=dict)  # by connection

    def hears(self, request: web.BaseRequest, body: bytes) -> None:
        if request.headers.get("X-TC-Action") != CREATE:
            return
        found = _CREDENTIAL.search(request.headers.get("Authorization", ""))
        source = source_of(found[1]) if found else ""
        disk = json.loads(body).get("DiskId", "")
        self.starts.append(Start(time.time(), source, self._owner(request), disk))

    def _owner(self, request: web.BaseRequest) -> int:
        connection = request.protocol
        if not self._owners.get(connection):  # the list of sockets may be read in its change
            assert request.transport is not None
            port = request.transport.get_extra_info("peername")[1]
            found = (_pid_of(port, self.pids()) for _ in range(3))
            self._owners[connection] = next(filter(None, found), 0)
        return self._owners[connection]


def _pid_of(port: int, pids: Iterable[int]) -> int:
    """Whose socket has this local port."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if int(parts[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{parts[9]}]")
    for pid in pids:
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if os.readlink(link) in inodes:
                        return pid
                except OSError:
                    continue
        except OSError:
            continue
    return 0


@contextmanager
def witnessed(
    folder: Path, quotas: int, pids: Callable[[], Iterable[int]], **scenario: Any
) -> Iterator[tuple[Cloud, Witness]]:
    """A cloud as `cloud_of` makes it, and what it sees."""
    witness, api = Witness(pids), Simulator._api

    async def seen(self: Simulator, request: web.BaseRequest) -> web.StreamResponse:
        witness.hears(request, await request.read())
        return await api(self, request)

    Simulator._api = seen  # type: ignore[method-assign]
    try:
        with cloud_of(folder, quotas, **scenario) as cloud:
            yield cloud, witness
    finally:
        Simulator._api = api  # type: ignore[method-assign]


def claims_of(base: Any) -> dict[str, list[Claim]]:
    """Who claimed each quota, and when, by its records."""
    found: dict[str, list[Claim]] = {}
    for source, at, worker in base.sql(
        "select line::json ->> 'source', line::json ->> 'at', line::json ->> 'worker' "
        "from batchsnap.record where line::json ->> 'event' = 'claimed' order by quota, seq"
    ):
        claim = Claim(datetime.fromisoformat(at).timestamp(), source, int(worker.split(":")[1]))
        found.setdefault(source, []).append(claim)
    return found


def late_starts(starts: list[Start], claims: dict[str, list[Claim]]) -> list[Start]:
    """Starts by a former owner after the new owner's first one."""
    late = []
    for source, owners in claims.items():
        own = [start for start in starts if start.source == source]
        for number, claim in enumerate(owners):
            end = owners[number + 1].at if number + 1 < len(owners) else float("inf")
            first = min((s.at for s in own if s.pid == claim.pid and s.at >= claim.at), default=end)
            late += [s for s in own if first < s.at < end and s.pid != claim.pid]
    return late


def shared_seconds(starts: list[Start], cap: int) -> list[int]:
    """Seconds with more starts than the cap in which two processes had one each or more."""
    over = []
    for source in {start.source for start in starts}:
        own = [start for start in starts if start.source == source]
        for number, first in enumerate(own):
            second = [s for s in own[number:] if s.at < first.at + 1.0 - 1e-6]
            if len({s.pid for s in second}) > 1 and len(second) > cap:
                over.append(len(second))
    return over
