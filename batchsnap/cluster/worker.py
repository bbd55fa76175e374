"""One machine's offer: claim free quotas, work on them, until nothing is left or somebody stops it.

Nothing is scheduled and nobody leads: a worker takes at most ten free quotas every two seconds
while there are any, up to its bound; one that nobody has taken for ten seconds is taken above it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import anyio
import orjson
from anyio.abc import TaskGroup

from batchsnap.client.ports import CredentialSource, Say
from batchsnap.client.stopping import Stop
from batchsnap.clock import Clock, LoopClock
from batchsnap.cloud.transport import Transport
from batchsnap.cluster.claims import Claims
from batchsnap.cluster.tenure import Shared, Tenure
from batchsnap.errors import CredentialsError, Exit, LedgerError
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database
from batchsnap.postgres.reading import LedgerRow, QuotaRow, quotas, records
from batchsnap.postgres.session import Session
from batchsnap.settings import Settings, Waits

MAX_QUOTAS = 100
_EVERY_S = 2.0
_ORPHAN_S = 10.0  # unowned for so long, a quota is taken above the bound
_HOLD_BACK_S = 6.0  # after the server's start: owners get theirs back first
_FACTS = (
    "select l.phase, l.reason, extract(epoch from now() - pg_postmaster_start_time())::float8, "
    "exists (select from batchsnap.record r join batchsnap.quota q on q.id = r.quota "
    "where q.ledger = l.id and q.source <> '') from batchsnap.ledger l where l.id = %s"
)
_STOP = (
    "update batchsnap.ledger set phase = 'stopped', reason = %s where id = %s and phase = 'open'"
)


@dataclass(slots=True)
class Facts:
    """What the latest heartbeat saw of the ledger."""

    phase: str = "open"
    reason: str = ""
    server_up_s: float = 0.0
    begun: bool = True  # somebody has owned a part of it, and may come back for it
    quotas: tuple[QuotaRow, ...] = ()
    seen: bool = False

    @property
    def open(self) -> list[QuotaRow]:
        """Those that nobody has brought to an end."""
        return [quota for quota in self.quotas if quota.source and quota.ended is None]


class Offer(NamedTuple):
    """What this machine gives."""

    credentials: CredentialSource
    max_quotas: int = MAX_QUOTAS
    waits: Waits = Waits()


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
        self._claims = Claims(address, self.session, self._clock)
        self._tenures: dict[int, Tenure] = {}
        self._changed = anyio.Event()
        self._sources: dict[str, str] = {}  # by profile; "" where this machine has no key
        self._unfit: dict[str, str] = {}  # by profile: why its quotas are left to others
        self._unowned_since: dict[int, float] = {}
        self._limit = _most_failed(settings.max_errors, int(ledger.header["manifest"]["rows"]))

    @property
    def owned(self) -> int:
        return len(self._tenures)

    @property
    def lacking(self) -> list[str]:
        """Why quotas that are open are not for this machine."""
        return sorted(set(self._unfit.values()))

    async def run(self) -> None:
        """Until every quota has ended, the run is stopped, or nothing is left for this machine.

        Raises:
            LedgerError: the database can't be used.
        """
        async with Transport() as transport, anyio.create_task_group() as tasks:
            world = Shared(
                session=self.session,
                transport=transport,
                credentials=self._offer.credentials,
                clock=self._clock,
                say=self._say,
                waits=self._offer.waits,
                records=partial(records, self._address, primary=True),
                label=self._address.label,
            )
            self._stop.tell(self._drain)
            async with anyio.create_task_group() as session:
                session.start_soon(self._session)
                await self._offer_until_over(tasks, world)
                self.session.close()
        if self.session.failure is not None:
            raise self.session.failure

    async def _session(self) -> None:
        await self.session.run()
        self._wake()

    async def _offer_until_over(self, tasks: TaskGroup, world: Shared) -> None:
        next_claim = -math.inf
        while self.session.failure is None:
            self._review()
            if self._over():
                return
            now = self._clock.monotonic()
            if now >= next_claim and self._may_claim():
                next_claim = now + _EVERY_S
                await self._claim(tasks, world, now)
            with anyio.move_on_after(0.5):
                await self._changed.wait()
            self._changed = anyio.Event()

    def _over(self) -> bool:
        if self._tenures:
            return False
        if self._stop.stopping:
            return True
        return self.facts.seen and (self.facts.phase != "open" or not self._mine())

    def _review(self) -> None:
        """What the heartbeat saw: a stop from elsewhere, or too many failures."""
        facts = self.facts
        if facts.seen and facts.phase == "stopped":
            self._drain()
        failed = sum(quota.failed for quota in facts.quotas)
        if self._limit is not None and failed >= self._limit and facts.phase == "open":
            facts.phase = "stopped"
            facts.reason = f"{failed} rows failed, --max-errors {self._settings.max_errors}"
            self._say(f"halting: {facts.reason}")

    def _may_claim(self) -> bool:
        facts = self.facts
        ready = facts.seen and facts.phase == "open" and not self.session.away
        settled = facts.server_up_s >= _HOLD_BACK_S or not facts.begun
        return ready and settled and not self._stop.stopping

    def _mine(self) -> list[QuotaRow]:
        """Open quotas that this machine could own."""
        return [q for q in self.facts.open if not self._unfit.keys() & set(_profiles(q))]

    async def _claim(self, tasks: TaskGroup, world: Shared, now: float) -> None:
        for quota in self.facts.open:
            await self._judge(quota)
        free = [quota for quota in self._mine() if quota.id not in self._tenures]
        since = self._unowned_since = {q.id: self._unowned_since.get(q.id, now) for q in free}
        room = self._offer.max_quotas - len(self._tenures)
        if room <= 0:
            free = [quota for quota in free if now - since[quota.id] >= _ORPHAN_S]
            room = len(free)
        try:
            claimed = await self._claims.take(free, room)
        except Away:
            return  # the session connects again
        except LedgerError as error:
            self._say(f"nothing could be claimed: {error}")
            return
        for one in claimed:
            tenure = Tenure(world, one)
            self._tenures[one.hold.quota] = tenure
            tasks.start_soon(self._work, tenure)
        if claimed:
            self._say(f"owns {len(self._tenures)} quotas, {len(claimed)} of them new")

    async def _work(self, tenure: Tenure) -> None:
        try:
            if self._stop.stopping:
                tenure.drain(self._stop.exit or Exit.UNFINISHED, self._stop.reason)
            await tenure.run()
        finally:
            self.session.drop(tenure.hold)
            del self._tenures[tenure.hold.quota]
            self._wake()

    async def _judge(self, quota: QuotaRow) -> None:
        """Whether this machine has the keys that the quota is of; what it lacks is said once."""
        for profile in _profiles(quota):
            if profile in self._sources:
                continue
            name = profile or "the default one"
            try:
                credential = await self._offer.credentials.get(profile)
            except CredentialsError as error:
                self._sources[profile] = ""
                self._leave(profile, f"profile {name}: {error}")
            else:
                self._sources[profile] = credential.quota_source
                if credential.quota_source != quota.source:
                    self._leave(
                        profile, f"profile {name} has other keys here than where it was loaded"
                    )

    def _leave(self, profile: str, why: str) -> None:
        self._unfit[profile] = why
        self._say(f"its quotas are left to others: {why}")

    def _drain(self) -> None:
        """Let every tenure come to its end; nothing more is claimed."""
        code = self._stop.exit or Exit.UNFINISHED
        reason = self._stop.reason or self.facts.reason or "the run was stopped"
        for tenure in self._tenures.values():
            tenure.drain(code, reason)
        self._wake()

    def _observe(self, database: Database) -> None:
        """After each heartbeat, in the session's thread."""
        if self.facts.phase == "stopped" and self.facts.reason:
            database.run(_STOP, self.facts.reason, self._ledger.id)
        phase, reason, up_s, begun = database.one(_FACTS, self._ledger.id)
        rows = tuple(quotas(database, self._ledger.id))
        self.facts = Facts(phase, reason, up_s, begun, rows, seen=True)

    def _wake(self) -> None:
        self._changed.set()


def _profiles(quota: QuotaRow) -> list[str]:
    profiles: list[str] = orjson.loads(quota.profiles)
    return profiles


def _most_failed(text: str, rows: int) -> int | None:
    """What --max-errors comes to."""
    if not text:
        return None
    if text.endswith("%"):
        return max(1, round(float(text[:-1]) * rows / 100))
    return max(1, int(text))
