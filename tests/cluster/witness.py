"""What the cloud saw, call by call, and of which process: a judge that trusts no ledger."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from batchsnap.cloud.tc3 import Credential
from batchsnap.simulator.server import Simulator
from tests.cluster.fleet import cloud_of
from tests.cluster.team import Team
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


class Witness:
    """Create calls in the order of their arrival. Whose a connection is tells its port, which is
    looked up while the socket is open; another process may have the port later."""

    def __init__(self) -> None:
        self._teams: list[Team] = []
        self._seen: list[tuple[float, str, object, str]] = []  # with the connection
        self._new: dict[object, int] = {}  # connections whose owner is not known yet, their ports
        self._owners: dict[object, int] = {}
        self._over = threading.Event()
        self._looker = threading.Thread(target=self._look)

    def watch(self, team: Team) -> Team:
        """Its processes are those that are known."""
        self._teams.append(team)
        return team

    def judge(self, team: Team, rows: int, cap: int) -> None:
        """Each row was made once, no former owner was at it late, and no two together went over
        the cap in a second."""
        team.check(rows)
        assert team.events()["doubled"] == 0
        assert self.unknown < 0.05, self.unknown
        late = late_starts(self.starts, claims_of(team.base))
        assert late == [], late
        shared = shared_seconds(self.starts, cap)
        assert shared == [], shared

    @property
    def starts(self) -> list[Start]:
        """Those whose process is known."""
        found = [Start(at, s, self._owners.get(way, 0), d) for at, s, way, d in self._seen]
        return [start for start in found if start.pid]

    @property
    def unknown(self) -> float:
        """The share of all others."""
        return 1 - len(self.starts) / max(1, len(self._seen))

    def hears(self, request: web.BaseRequest, body: bytes) -> None:
        if request.headers.get("X-TC-Action") != CREATE or request.transport is None:
            return
        found = _CREDENTIAL.search(request.headers.get("Authorization", ""))
        way = request.protocol
        if way not in self._owners:
            self._new[way] = request.transport.get_extra_info("peername")[1]
        disk = json.loads(body).get("DiskId", "")
        self._seen.append((time.time(), source_of(found[1]) if found else "", way, disk))

    def __enter__(self) -> Witness:
        self._looker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looker.join()

    def _pids(self) -> list[int]:
        return [process.pid for team in self._teams for process in team.started]

    def _look(self) -> None:
        while not self._over.wait(0.25):
            wanted = {port: way for way, port in dict(self._new).items()}
            inodes = {inode: pid for pid in self._pids() for inode in _sockets_of(pid)}
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                parts = line.split()
                way = wanted.get(int(parts[1].rpartition(":")[2], 16))
                if way is not None and parts[9] in inodes:
                    self._owners[way] = inodes[parts[9]]
            for way in wanted.values():  # what is closed by now stays unknown
                self._new.pop(way, None)


def _sockets_of(pid: int) -> Iterator[str]:
    """The inodes of its sockets."""
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(link)
                if target.startswith("socket:["):
                    yield target[8:-1]


@contextmanager
def witnessed(folder: Path, quotas: int, **scenario: Any) -> Iterator[tuple[Cloud, Witness]]:
    """A cloud as `cloud_of` makes it, and what it sees."""
    witness, api = Witness(), Simulator._api

    async def seen(self: Simulator, request: web.BaseRequest) -> web.StreamResponse:
        witness.hears(request, await request.read())
        return await api(self, request)

    Simulator._api = seen  # type: ignore[method-assign]
    try:
        with cloud_of(folder, quotas, **scenario) as cloud, witness:
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
