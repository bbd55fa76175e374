"""The executor of one process: opens the doors, runs a lane for each quota, closes all again."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import anyio

from batchsnap.clock import Clock
from batchsnap.cloud import actions
from batchsnap.cloud.quotas import endpoint_url
from batchsnap.cloud.transport import Transport
from batchsnap.engine.access import Access
from batchsnap.engine.attempt import CREATE, Desk
from batchsnap.engine.brakes import Brakes
from batchsnap.engine.halts import Halts
from batchsnap.engine.lane import Lane
from batchsnap.engine.ports import CredentialSource, Gate
from batchsnap.engine.stopping import Stop
from batchsnap.engine.strand import Strand
from batchsnap.engine.watch import Watched, accepted_in, watched_of
from batchsnap.errors import CredentialsError, Exit
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import Record
from batchsnap.ledger.store import Ledger
from batchsnap.lifecycle import State
from batchsnap.model import PlannedRequest, Quota
from batchsnap.pacing.contention import Contention
from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import QuotaFile, state_folder
from batchsnap.settings import Settings, Waits

Say = Callable[[str], None]
_WARM_S = 0.4  # connections for so many seconds' worth of starts are opened before the first


class LocalGates:
    """The gates of this process, one for each quota, opened when first asked for."""

    def __init__(
        self, settings: Settings, clock: Clock, folder: Path | None, stop: Stop, say: Say
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._folder = folder
        self._stop = stop
        self._say = say
        self._gates: dict[Quota, LocalGate] = {}
        stop.tell(self._end)

    def of(self, quota: Quota) -> Gate:
        gate = self._gates.get(quota)
        if gate is None:
            gate = self._gates[quota] = self._open(quota)
        return gate

    def _open(self, quota: Quota) -> LocalGate:
        create = quota.action == CREATE
        file = QuotaFile(self._folder, quota) if self._folder is not None else None
        gate = LocalGate(
            self._settings.rate_per_s if create else float(actions.RATES[quota.action]),
            clock=self._clock,
            file=file,
            strict=create and self._settings.strict,
            contention=Contention(
                f"the quota of {quota.action} at {quota.host}",
                most_s=self._settings.retry_for_s,
                say=self._say,
                gave_up=self._give_up,
            ),
        )
        if create and self._stop.stopping:
            gate.end()
        return gate

    def _give_up(self, why: str) -> None:
        if not self._stop.stopping:
            self._say(why)
            self._stop.request(Exit.UNFINISHED, why)

    def _end(self) -> None:
        """No row is started after the stop; what is asked about those that are out goes on."""
        for quota, gate in self._gates.items():
            if quota.action == CREATE:
                gate.end()

    def close(self) -> None:
        for gate in self._gates.values():
            gate.close()


@dataclass(slots=True)
class Work:
    """What an executor is handed."""

    ledger: Ledger
    strands: list[Strand]
    settings: Settings
    waits: Waits
    endpoint: str  # may hold {region}
    simulated: bool  # paced for itself: its quota is nobody else's
    ask_first: Gap
    rows: int = 0  # of the manifest
    send: bool = True  # False: settle only
    wait: bool = False  # until every accepted snapshot is ready


class Doors:
    """The open doors of one process: connections, gates, and an Access for each quota."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        credentials: CredentialSource,
        *,
        say: Say,
        stop: Stop | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._credentials = credentials
        self._say = say
        self._stop = stop or Stop()
        self._accesses: dict[tuple[str, str], Access] = {}

    @asynccontextmanager
    async def open(self, *, shared: bool) -> AsyncIterator[Self]:
        """Open them; `shared`: starts are counted with those of this user's other processes."""
        folder = state_folder() if shared else None
        self._gates = LocalGates(self._settings, self._clock, folder, self._stop, self._say)
        try:
            async with Transport() as self._transport:
                yield self
        finally:
            self._gates.close()

    def access(self, profile: str, url: str) -> Access:
        """How this profile reaches this endpoint."""
        access = self._accesses.get((profile, url))
        if access is None:
            access = self._accesses[profile, url] = Access(
                profile,
                url,
                credentials=self._credentials,
                send=self._transport,
                gates=self._gates,
                clock=self._clock,
                timeout_s=self._settings.timeout_s,
            )
        return access

    async def warm(self, access: Access) -> None:
        """Open the gate and some connections before the first start, while its second passes."""
        with suppress(CredentialsError):  # its first attempt halts it, and nobody else
            await access.credential()
            access.gate(CREATE)
        starts = min(self._settings.rate_per_s, 100) * _WARM_S
        await self._transport.warm(access.url, max(1, round(starts)))


class LocalExecutor:
    """Runs work in this process."""

    def __init__(self, clock: Clock, credentials: CredentialSource, say: Say) -> None:
        self._clock = clock
        self._credentials = credentials
        self._say = say

    async def execute(self, work: Work, stop: Stop) -> Halts:
        """Do the work until all is done, stopped or halted; tells what was halted.

        Raises:
            LedgerUnwritable: nothing was sent after it.
        """
        ledger, halts = work.ledger, Halts(self._say)
        desk = new_desk(ledger, self._clock, stop, work.settings, work.waits, say=self._say)
        brakes = Brakes(_braking(work), ledger.fold, work.rows, stop, self._say)
        watching = work.wait or brakes.watching
        earlier = _accepted_earlier(ledger) if watching else []
        by_quota = _by_quota(work, earlier)
        doors = Doors(work.settings, self._clock, self._credentials, say=self._say, stop=stop)
        async with doors.open(shared=not work.simulated):
            lanes = {
                (profile, url): Lane(
                    doors.access(profile, url),
                    strands,
                    desk,
                    halts=halts,
                    brakes=brakes,
                    claimed=partial(_claimed, ledger),
                    ask_first=work.ask_first,
                    send=work.send,
                    wait=work.wait,
                )
                for (profile, url), strands in by_quota.items()
            }

            def heard(record: Record) -> None:
                brakes.heard(record)
                if watching and record["event"] == "accepted":
                    watched = watched_of(record)
                    lanes[_quota_of(work, watched.row)].watch(watched)

            for watched in earlier:
                lanes[_quota_of(work, watched.row)].watch(watched)
            ledger.taps.append(heard)
            async with committing(ledger), anyio.create_task_group() as tasks:
                for quota, lane in lanes.items():
                    if work.send and by_quota[quota]:
                        tasks.start_soon(doors.warm, lane.access)
                    tasks.start_soon(lane.run)
        return halts


def new_desk(
    ledger: Ledger,
    clock: Clock,
    stop: Stop,
    settings: Settings,
    waits: Waits,
    *,
    say: Say,
) -> Desk:
    """What every attempt shares."""
    rng = random.Random()  # noqa: S311 - spreads retries, guards nothing
    return Desk(ledger, clock, stop, settings, waits, rng, say)


@asynccontextmanager
async def committing(ledger: Ledger) -> AsyncIterator[None]:
    """The ledger commits while the block runs, and what is appended in it is on disk after it.

    Raises:
        LedgerUnwritable: it is not, though nobody waited for it.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.commit)
        try:
            yield
        finally:
            ledger.close()
    if ledger.failure is not None:
        raise ledger.failure


def _braking(work: Work) -> Settings:
    """What sends nothing is not braked."""
    if work.send:
        return work.settings
    return replace(work.settings, max_errors="", canary=0, max_creating=0)


def _quota_of(work: Work, of: Strand | PlannedRequest) -> tuple[str, str]:
    return of.profile, endpoint_url(work.endpoint, of.region)


def _by_quota(work: Work, earlier: list[Watched]) -> dict[tuple[str, str], list[Strand]]:
    """Strands that share a credential and a host share a lane; one that has none may have
    snapshots to await."""
    lanes: dict[tuple[str, str], list[Strand]] = {}
    for strand in work.strands:
        lanes.setdefault(_quota_of(work, strand), []).append(strand)
    for watched in earlier:
        lanes.setdefault(_quota_of(work, watched.row), [])
    return lanes


def _accepted_earlier(ledger: Ledger) -> list[Watched]:
    """The snapshots that earlier processes were given and did not see ready."""
    standing = ledger.fold.standing
    return accepted_in(
        records(ledger.path), lambda key: standing(key).state, frozenset({State.ACCEPTED})
    )


def _claimed(ledger: Ledger, disk_id: str) -> set[str]:
    """Snapshot ids that rows on a disk were given; rare, so the file is simply read."""
    return {
        record["snapshot_id"]
        for record in records(ledger.path)
        if record["event"] == "accepted" and record["disk_id"] == disk_id
    }
