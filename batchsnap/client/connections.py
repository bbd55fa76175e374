"""Transport, accounts and gates of one process: opened once, closed together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from batchsnap.client.account import AHEAD_MOST_S, Account, Reach
from batchsnap.client.ports import CredentialSource, Gate, Gates, RightToSend, Say
from batchsnap.client.stopping import Stop
from batchsnap.clock import Clock
from batchsnap.cloud import actions
from batchsnap.cloud.endpoints import endpoint_url, is_local
from batchsnap.cloud.proxies import proxy_of
from batchsnap.errors import CredentialsError, Exit, OtherVersion
from batchsnap.model import Quota
from batchsnap.pacing.gate import FIRST_WAIT_S, LocalGate
from batchsnap.pacing.quota_file import AtWork, Contention, QuotaFile, Shut, state_folder
from batchsnap.settings import Settings

if TYPE_CHECKING:
    from batchsnap.cloud.transport import Transport

_OTHER_VERSION_SAID_AFTER_S = 0.5  # two that begin at once may each see the other for an instant
_WARM_S = 0.4  # connections for so many seconds' worth of starts are opened before the first


class LocalGates:
    """The gates of this process, one for each quota, opened when first asked for. `folder`: where
    starts are counted with those of other processes; `first_wait_s`: see LocalGate."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        folder: Path | None,
        stop: Stop,
        say: Say,
        *,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._folder = folder
        self._stop = stop
        self._say = say
        self._first_wait_s = first_wait_s
        self._gates: dict[Quota, LocalGate] = {}
        stop.tell(self._end)

    def of(self, quota: Quota) -> Gate:
        gate = self._gates.get(quota)
        if gate is None:
            gate = self._gates[quota] = self._open(quota)
        return gate

    def _open(self, quota: Quota) -> LocalGate:
        makes = quota.action in actions.MAKERS
        file = QuotaFile(self._folder, quota) if self._folder is not None else None
        gate = LocalGate(
            self._settings.rate_per_s if makes else float(actions.RATES[quota.action]),
            clock=self._clock,
            file=file,
            strict=makes and self._settings.strict,
            first_wait_s=self._first_wait_s,
            contention=Contention(
                f"another process holds the quota of {quota.action} at {quota.host}",
                most_s=self._settings.retry_for_s,
                say=self._say,
                gave_up=self._give_up,
            ),
        )
        if makes and self._stop.stopping:
            gate.end()
        return gate

    def _give_up(self, why: str) -> None:
        if not self._stop.stopping:
            self._say(why)
            self._stop.request(Exit.UNFINISHED, why)

    def _end(self) -> None:
        """No row is started after the stop; what is asked about those that are out goes on."""
        for quota, gate in self._gates.items():
            if quota.action in actions.MAKERS:
                gate.end()

    def close(self) -> None:
        for gate in self._gates.values():
            gate.close()


class LeasedGate:
    """A gate behind a lease, for a ledger that another machine may take over. A start that has no
    lease waits for it, and for another token.

    A durable intent whose call has not left is stopped here, and nowhere else: by the time at which
    a new owner starts anything, every former owner's lease has run out.
    """

    def __init__(self, gate: Gate, lease: RightToSend) -> None:
        self._gate = gate
        self._lease = lease

    @property
    def rate_per_s(self) -> float:
        return self._gate.rate_per_s

    async def start(self) -> int:
        """Wait for the lease and the next lawful start; raises Shut once the quota is lost."""
        while await self._lease.held():
            token = await self._gate.start()
            if self._lease.holds():
                return token
            self._gate.replied(token, throttled=False)
        raise Shut(f"nothing more is sent for this quota: {self._lease.ended}")

    def leave(self, token: int) -> bool:
        """May the call leave now: asked of the lease directly before its bytes are written."""
        if self._lease.holds():
            return self._gate.leave(token)
        self._gate.replied(token, throttled=False)
        return False

    def left(self, token: int) -> None:
        self._gate.left(token)

    def replied(self, token: int, *, throttled: bool) -> None:
        self._gate.replied(token, throttled=throttled)

    def pause(self, seconds: float) -> None:
        self._gate.pause(seconds)


class LeasedGates:
    """The gates of one tenure: creates and questions alike need its lease."""

    def __init__(self, gates: Gates, lease: RightToSend) -> None:
        self._gates = gates
        self._lease = lease
        self._leased: dict[Quota, LeasedGate] = {}

    def of(self, quota: Quota) -> Gate:
        if quota not in self._leased:
            self._leased[quota] = LeasedGate(self._gates.of(quota), self._lease)
        return self._leased[quota]


class Connections:
    """The transport of one process, and the Account of each profile at each endpoint, paced by
    the gates that it is handed. Several executions may share it."""

    def __init__(
        self,
        transport: Transport,
        gates: Gates,
        settings: Settings,
        clock: Clock,
        credentials: CredentialSource,
        *,
        follows: bool = False,
    ) -> None:
        """`follows`: another process made calls that may still be on their way, and how far its
        clock was ahead is not known here: their signatures may outlive their time by as much as
        the cloud takes."""
        self.transport = transport
        self._follows = follows
        self._gates = gates
        self._settings = settings
        self._clock = clock
        self._credentials = credentials
        self._accounts: dict[tuple[str, str], Account] = {}

    def account(self, profile: str, url: str) -> Account:
        """How this profile reaches this endpoint.

        Raises:
            UsageError: the way there is a proxy that can't be used.
        """
        account = self._accounts.get((profile, url))
        if account is None:
            proxy_of(url)
            account = self._accounts[profile, url] = Account(
                profile,
                url,
                credentials=self._credentials,
                send=self.transport,
                gates=self._gates,
                clock=self._clock,
                timeout_s=self._settings.timeout_s,
            )
            if self._follows and not is_local(url):
                account.ahead_s = AHEAD_MOST_S
        return account

    def reach(self, endpoint: str) -> Reach:
        """How every profile reaches every region at an endpoint that may hold {region}. Raises as
        `account` does."""
        return lambda profile, region: self.account(profile, endpoint_url(endpoint, region))

    async def warm(self, account: Account, action: str) -> None:
        """Open the gate and some connections before the first start, while its second passes."""
        with suppress(CredentialsError):  # its first attempt halts it, and nobody else
            await account.credential()
            account.gate(action)
        starts = min(self._settings.rate_per_s, 100) * _WARM_S
        await self.transport.warm(account.url, max(1, round(starts)))


@asynccontextmanager
async def connected(
    settings: Settings,
    clock: Clock,
    credentials: CredentialSource,
    *,
    shared: bool,
    say: Say,
    stop: Stop | None = None,
    right: RightToSend | None = None,
) -> AsyncIterator[Connections]:
    """Connections and this process's own gates, open while the block runs; `shared`: starts are
    counted with those of this user's other processes; `right`: nothing leaves without it.

    Raises:
        OtherVersion: one whose starts we can't see is at work.
    """
    stop = stop or Stop()
    folder = state_folder() if shared else None
    at_work = await _begun(folder, settings, clock, say, stop) if folder is not None else None
    gates = LocalGates(settings, clock, folder, stop, say)
    try:
        # With aiohttp, which is half of a command's start: `plan` and `status` open no connection.
        from batchsnap.cloud.transport import Transport

        async with Transport() as transport:
            paced = gates if right is None else LeasedGates(gates, right)
            follows = right is not None
            yield Connections(transport, paced, settings, clock, credentials, follows=follows)
    finally:
        gates.close()
        if at_work is not None:
            at_work.end()


async def _begun(folder: Path, settings: Settings, clock: Clock, say: Say, stop: Stop) -> AtWork:
    """Wait until no process is at work whose starts are in another format."""
    at_work = AtWork(folder)
    contention = Contention(
        "another version of batchsnap is at work, whose pace this one can't see",
        said_after_s=_OTHER_VERSION_SAID_AFTER_S,
        most_s=settings.retry_for_s,
        say=say,
    )
    with stop.ends():
        while not at_work.begin():
            try:
                wait_s = contention.wait_s(clock.monotonic())
            except Shut as shut:
                raise OtherVersion(str(shut)) from None
            await clock.sleep(wait_s)
        return at_work
    raise OtherVersion("stopped while another version of batchsnap was at work", stop.exit)
