"""The executor of one process: opens the doors, runs a lane for each quota, closes all again."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from batchsnap.engine.watch import accepted_in
from batchsnap.errors import CredentialsError
from batchsnap.ledger.reading import records
from batchsnap.ledger.store import Ledger
from batchsnap.model import Quota
from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import QuotaFile, state_folder
from batchsnap.settings import Settings, Waits

_WARM_S = 0.4  # connections for so many seconds' worth of starts are opened before the first


class LocalGates:
    """The gates of this process, one for each quota, opened when first asked for."""

    def __init__(self, settings: Settings, clock: Clock, folder: Path | None) -> None:
        self._settings = settings
        self._clock = clock
        self._folder = folder
        self._gates: dict[Quota, LocalGate] = {}

    def of(self, quota: Quota) -> Gate:
        gate = self._gates.get(quota)
        if gate is None:
            create = quota.action == CREATE
            rate = self._settings.rate_per_s if create else float(actions.RATES[quota.action])
            file = QuotaFile(self._folder, quota) if self._folder is not None else None
            strict = create and self._settings.strict
            gate = LocalGate(rate, clock=self._clock, file=file, strict=strict)
            self._gates[quota] = gate
        return gate

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
    ask_first: bool
    rows: int = 0  # of the manifest
    send: bool = True  # False: settle only
    wait: bool = False  # until every accepted snapshot is ready


class LocalExecutor:
    """Runs work in this process."""

    def __init__(
        self, clock: Clock, credentials: CredentialSource, say: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self._say = say

    async def execute(self, work: Work, stop: Stop) -> Halts:
        """Do the work until all is done, stopped or halted; tells what was halted.

        Raises:
            LedgerUnwritable: nothing was sent after it.
        """
        ledger, halts = work.ledger, Halts(self._say)
        desk = Desk(
            sink=ledger,
            clock=self._clock,
            stop=stop,
            settings=work.settings,
            waits=work.waits,
            rng=random.Random(),  # noqa: S311 - spreads retries, guards nothing
            say=self._say,
        )
        async with AsyncExitStack() as stack:
            transport = await stack.enter_async_context(Transport())
            gates = LocalGates(
                work.settings, self._clock, None if work.simulated else state_folder()
            )
            stack.callback(gates.close)
            brakes = Brakes(work.settings, ledger.fold, work.rows, stop, self._say)
            lanes = [
                Lane(
                    await self._access(profile, url, work, transport, gates),
                    strands,
                    desk,
                    halts=halts,
                    brakes=brakes,
                    claimed=partial(_claimed, ledger),
                    ask_first=work.ask_first,
                    send=work.send,
                    wait=work.wait,
                )
                for (profile, url), strands in _by_quota(work).items()
            ]
            if work.wait or brakes.watching:
                _watch_earlier(lanes, ledger, work.endpoint)
            warm = max(1, round(min(work.settings.rate_per_s, 100) * _WARM_S))
            await self._run(lanes, ledger, transport, warm)
        return halts

    async def _run(
        self, lanes: list[Lane], ledger: Ledger, transport: Transport, warm: int
    ) -> None:
        async with anyio.create_task_group() as committing:
            committing.start_soon(ledger.commit)
            try:
                async with anyio.create_task_group() as tasks:
                    for lane in lanes:
                        tasks.start_soon(transport.warm, lane.access.url, warm)
                        tasks.start_soon(lane.run)
            finally:
                ledger.close()

    async def _access(
        self, profile: str, url: str, work: Work, transport: Transport, gates: LocalGates
    ) -> Access:
        try:
            source = (await self._credentials.get(profile)).source
        except CredentialsError:
            source = f"profile:{profile}"  # its first attempt halts it, and nobody else
        access = Access(
            profile,
            url,
            source=source,
            credentials=self._credentials,
            send=transport,
            gates=gates,
            clock=self._clock,
            timeout_s=work.settings.timeout_s,
        )
        access.gate(CREATE)  # opened now, so that its first second passes while we connect
        return access


def _by_quota(work: Work) -> dict[tuple[str, str], list[Strand]]:
    """Strands that share a credential and a host share a lane."""
    lanes: dict[tuple[str, str], list[Strand]] = {}
    for strand in work.strands:
        url = endpoint_url(work.endpoint, strand.region)
        lanes.setdefault((strand.profile, url), []).append(strand)
    return lanes


def _watch_earlier(lanes: list[Lane], ledger: Ledger, endpoint: str) -> None:
    """Hand each lane the snapshots that earlier processes were given and did not see ready."""
    by_quota = {(lane.access.profile, lane.access.url): lane for lane in lanes}
    standing = ledger.fold.standing
    for watched in accepted_in(records(ledger.path), lambda key: standing(key).state):
        url = endpoint_url(endpoint, watched.row.region)
        if (lane := by_quota.get((watched.row.profile, url))) is not None:
            lane.watch(watched)


def _claimed(ledger: Ledger, disk_id: str) -> set[str]:
    """Snapshot ids that rows on a disk were given; rare, so the file is simply read."""
    return {
        record["snapshot_id"]
        for record in records(ledger.path)
        if record["event"] == "accepted" and record["disk_id"] == disk_id
    }
