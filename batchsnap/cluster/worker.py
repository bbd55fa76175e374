"""One machine's offer: claim free quotas, work on them, until nothing is left or somebody stops it.

Nothing is scheduled and nobody leads: a worker takes at most ten free quotas every two seconds
while there are any, up to its bound; one that nobody has taken for ten seconds is taken above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup

from batchsnap.client.connections import Connections, LocalGates
from batchsnap.client.ports import CredentialSource, Say
from batchsnap.client.stopping import Stop
from batchsnap.clock import Clock, LoopClock
from batchsnap.cloud.transport import Transport
from batchsnap.cluster.canary import Canary
from batchsnap.cluster.claims import Claims, Facts, Free
from batchsnap.cluster.keys import Keys
from batchsnap.cluster.load import stop_open
from batchsnap.cluster.machine import Machine
from batchsnap.cluster.tenure import Shared, Tenure
from batchsnap.engine.limits import errors_max
from batchsnap.errors import Exit, LedgerError
from batchsnap.pacing.quota_file import state_folder
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database
from batchsnap.postgres.reading import QUOTAS, LedgerRow, QuotaRow
from batchsnap.postgres.recovery import end_former
from batchsnap.postgres.schema import AT_WORK, FACTS, HELD
from batchsnap.postgres.session import Session
from batchsnap.settings import Settings, Waits, counted

_EVERY_S = 2.0
_HOLD_BACK_S = 6.0  # after the server's start: owners get theirs back first


class Offer(NamedTuple):
    """What this machine gives."""

    credentials: Callable[[str, str], CredentialSource]  # by endpoint and region
    machine: Machine
    waits: Waits = Waits()
    keep: bool = False  # also where nothing is left that this machine has keys for


class Worker:
    """Works on one ledger. `run` once."""

    def __init__(
        self,
        address: Address,
        ledger: LedgerRow,
        settings: Settings,
        offer: Offer,
        *,
        stop: Stop,
        say: Say,
    ) -> None:
        self.facts = Facts()
        self._address = address
        self._ledger = ledger
        self._settings = settings
        self._offer = offer
        self._stop = stop
        self._say = say
        self._clock: Clock = LoopClock()
        self.session = Session(
            address, self._clock, say, patience_s=settings.retry_for_s, observe=self._observe
        )
        self._claims = Claims(address, self.session, self._clock, offer.waits)
        self._canary = Canary(address, ledger, settings.canary, self.session, say)
        self._tenures: dict[int, Tenure] = {}
        self._changed = anyio.Event()
        self._credentials = offer.credentials(ledger.header["endpoint"], settings.region)
        self._keys = Keys(self._credentials, say)
        self._free = Free()
        self._look_at = self._next_claim = -math.inf
        self._told_stop = False
        self._limit = errors_max(settings.max_errors, int(ledger.header["manifest"]["rows"]))

    async def run(self) -> None:
        """Until every quota has ended, the run is stopped, or nothing is left for this machine.

        Raises:
            LedgerError: the database can't be used.
        """
        gates = LocalGates(  # of questions alone, which cost nothing where they are throttled
            self._settings, self._clock, state_folder(), self._stop, self._say, first_wait_s=0.0
        )
        try:
            await self._run(gates)
        finally:
            gates.close()
        if self.session.failure is not None:
            raise self.session.failure

    async def _run(self, gates: LocalGates) -> None:
        async with Transport() as transport, anyio.create_task_group() as tasks:
            connections = Connections(
                transport, gates, self._settings, self._clock, self._credentials
            )
            world = Shared(
                session=self.session,
                transport=transport,
                credentials=self._credentials,
                clock=self._clock,
                say=self._say,
                address=self._address,
                run_waits=lambda: self.facts.wait,
                taps=self._offer.machine.taps,
                reach=connections.reach(self._ledger.header["endpoint"]),
            )
            self._stop.tell(self._drain)
            async with anyio.create_task_group() as session:
                session.start_soon(self._session)
                await self._offer_until_over(tasks, world)
                self.session.close()

    async def _session(self) -> None:
        await self.session.run()
        self._wake()

    async def _offer_until_over(self, tasks: TaskGroup, world: Shared) -> None:
        while self.session.failure is None:
            with suppress(Away):  # the session connects again
                await self._review()
                if self._over():
                    self._tell_lacking()
                    return
                if self._may_claim():
                    self._next_claim = math.inf  # until this one is over
                    tasks.start_soon(self._claim_beside, tasks, world)
            with anyio.move_on_after(0.5):
                await self._changed.wait()
            self._changed = anyio.Event()

    async def _claim_beside(self, tasks: TaskGroup, world: Shared) -> None:
        """It may take a while, in which a stop is heeded."""
        following = now = self._clock.monotonic()
        try:
            with suppress(Away):
                following += _EVERY_S * await self._claim(tasks, world, now)
        finally:
            self._next_claim = following
            self._wake()

    def _over(self) -> bool:
        if self._tenures or self._next_claim == math.inf:
            return False
        if self._stop.stopping:
            return True
        facts = self.facts
        left = facts.open if self._offer.keep else self._mine()
        return facts.seen and (facts.phase not in AT_WORK or not left)

    def _tell_lacking(self) -> None:
        """Say why this machine leaves a run that goes on."""
        if self.facts.phase in AT_WORK and self.facts.open and not self._stop.stopping:
            lacks = f"it lacks: {', '.join(self._keys.lacking)}"
            self._say(f"nothing is left that this machine has the keys for; {lacks}")

    async def _review(self) -> None:
        """What the heartbeat saw: a stop from elsewhere, or too many failures."""
        facts = self.facts
        failed = sum(quota.failed for quota in facts.quotas)
        why = self._canary.failure
        if self._limit is not None and failed >= self._limit:
            why = f"{failed} rows failed, --max-errors {self._settings.max_errors}"
        if why and facts.phase in AT_WORK:
            stop = partial(stop_open, ledger=self._ledger.id, code=Exit.HALTED, reason=why)
            await self.session.call(stop)
            facts = self.facts
            facts.phase, facts.reason = "stopped", why
            self._say(f"halting: {why}")
            self._told_stop = True
        if facts.seen and facts.phase == "stopped":
            if facts.open and not (self._told_stop or self._stop.stopping):
                self._told_stop = True
                self._say(f"the run is stopped on all machines: {facts.reason}".rstrip(": "))
            self._drain()

    def _may_claim(self) -> bool:
        facts = self.facts
        ready = facts.seen and facts.phase in AT_WORK and not self.session.away
        ready = ready and self._clock.monotonic() >= self._next_claim
        settled = facts.server_up_s >= _HOLD_BACK_S or not facts.begun
        return ready and settled and not self._stop.stopping and self._offer.machine.most > 0

    def _mine(self) -> list[QuotaRow]:
        """Open quotas that this machine could own."""
        return [quota for quota in self.facts.open if self._keys.fit(quota)]

    async def _claim(self, tasks: TaskGroup, world: Shared, now: float) -> bool:
        """Whether there was something to claim: else the next look is soon."""
        for quota in self.facts.open:
            await self._keys.judge(quota)
        canary = self._canary if self.facts.phase == "canary" else None
        if canary is not None and not await self._makes_canary():
            return True
        others = [quota for quota in self._mine() if quota.id not in self._tenures]
        free = self._free.of(others, self.facts.held, now)
        room = self._offer.machine.room
        if canary is not None:
            free = canary.wanted(free)
        elif room <= 0:
            free = self._free.orphans(now)
            room = len(free)
        try:
            admit = partial(self._keys.admitted, reach=world.reach)
            choose = canary.choose if canary else None
            claimed = await self._claims.take(free, room, admit, choose)
        except LedgerError as error:
            self._say(f"nothing could be claimed: {error}")
            return True
        for one in claimed:
            tenure = Tenure(world, one, canary)
            self._tenures[one.hold.quota] = tenure
            self._offer.machine.begin(tenure, self._clock.wall())
            tasks.start_soon(self._work, tenure)
        if claimed:
            owned = counted(len(self._tenures), "quota")
            told = f"{self._address.ledger}: owns {owned}, {len(claimed)} of them new"
            self._offer.machine.note(told)
        return bool(free)

    async def _makes_canary(self) -> bool:
        """Whether there is more of it to be claimed for, by this process."""
        if not self._tenures:  # not all that was chosen need have been claimed
            self._canary.recount()
        left, idle = self.facts.open, not self._tenures
        if not await self._canary.leads(left, self._mine(), idle=idle):
            return False
        if not self._canary.well(left):
            return True
        await self._canary.go_on()
        self.facts.phase = "open"
        self._let_go("the canary is ready")
        return False

    async def _work(self, tenure: Tenure) -> None:
        try:
            if self._stop.stopping:
                tenure.drain(self._stop.exit or Exit.UNFINISHED, self._stop.reason)
            await tenure.run()
        finally:
            self.session.drop(tenure.hold)
            del self._tenures[tenure.hold.quota]
            self._offer.machine.end(tenure)
            self._wake()

    def _drain(self) -> None:
        """Let every tenure come to its end; nothing more is claimed."""
        self.session.hurried = self._stop.stopping
        self._let_go(self._stop.reason or self.facts.reason or "the run was stopped")

    def _let_go(self, reason: str) -> None:
        for tenure in self._tenures.values():
            tenure.drain(self._stop.exit or Exit.UNFINISHED, reason)
        self._wake()

    def _observe(self, database: Database) -> None:
        """After each heartbeat, in the session's thread."""
        asked = (FACTS, self._ledger.id), (QUOTAS, self._ledger.id), (HELD,)
        [(phase, reason, wait, up_s, begun)], rows, held = database.together(*asked)
        found = tuple(QuotaRow(*row) for row in rows), {number for (number,) in held}
        self.facts = facts = Facts(phase, reason, wait, up_s, begun, *found, seen=True)
        if (now := self._clock.monotonic()) >= self._look_at:  # for what a lock must not hang on
            self._look_at = now + _EVERY_S
            end_former(database, [quota.lock for quota in facts.open], frozenset())

    def _wake(self) -> None:
        self._changed.set()
