"""One credential at one host: signs, sends and paces every action, and mends what can be mended.

The cloud counts calls by credential, host and action, so everything that shares those goes through
one Account. A signature is made after its token, never before: it is dead 300 s later.
"""

from __future__ import annotations

from collections.abc import Callable

from batchsnap.client.ports import Clock, CredentialSource, Gate, Gates, Send
from batchsnap.cloud import actions, faults, tc3
from batchsnap.cloud.endpoints import host_of, is_local
from batchsnap.cloud.faults import masked
from batchsnap.cloud.tc3 import Credential
from batchsnap.model import Fault, FaultKind, Quota, Reply
from batchsnap.pacing.quota_file import Shut

_CLOCK_CODE = "AuthFailure.SignatureExpire"
_KEY_CODES = frozenset(
    f"AuthFailure.{what}"
    for what in ("TokenFailure", "SecretIdNotFound", "InvalidSecretId", "SignatureFailure")
)
"""What keys meet that were rotated: an id that is gone, another key or token of the same id."""
_SKEW_WORTH_MENDING_S = 1.0
AHEAD_MOST_S = 300.0
"""A signature that is dated further ahead is refused."""
_AHEAD_S = 2.0, AHEAD_MOST_S  # Date has whole seconds
_READ_RETRIES = 3  # throttled questions cost nothing and are simply asked again


class Start:
    """A token on its way to the socket; one that comes there too late is renewed, if then the
    call still `may` leave."""

    __slots__ = ("_clock", "_gate", "_may", "_token", "left_at")

    def __init__(
        self, gate: Gate, token: int, clock: Clock, may: Callable[[], bool] = lambda: True
    ) -> None:
        self.left_at = 0.0  # monotonic; of the last leave where the write did not end
        self._gate = gate
        self._token = token
        self._clock = clock
        self._may = may

    async def leave(self) -> None:
        """Return when the call may leave, and does.

        Raises:
            ConnectionAbortedError: it may not any more.
        """
        while not self._gate.leave(self._token):
            self._token = await self._gate.start()
            if not self._may():
                raise ConnectionAbortedError("stopped before it was sent")
        self.left_at = self._clock.monotonic()

    def left(self) -> None:
        """Its bytes were just written: the start is dated by that."""
        self.left_at = self._clock.monotonic()
        self._gate.left(self._token)

    def replied(self, *, throttled: bool) -> None:
        """The call is over, or was never made."""
        self._gate.replied(self._token, throttled=throttled)


class Account:
    """How the rows of one profile reach one host."""

    def __init__(
        self,
        profile: str,
        url: str,
        *,
        credentials: CredentialSource,
        send: Send,
        gates: Gates,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self.profile = profile
        self.url = url
        self.host = host_of(url)
        self.offset_s = 0.0  # the cloud's clock minus ours, once learned
        self.ahead_s = 0.0  # by how much our signatures outlive those of a clock that is right
        self.disks_denied = False  # the policy forbids DescribeDisks
        self._source = ""  # whose quota; fixed by the first credential that is found
        self._local = is_local(url)
        self._real = False  # a reply came without a simulator's declaration
        self._declared_s: float | None = None
        self._credentials = credentials
        self._send = send
        self._gates = gates
        self._clock = clock
        self._timeout_s = timeout_s

    def gate(self, action: str) -> Gate:
        """Where this action's token is waited for. Ask for a credential first: it tells whose."""
        assert self._source
        return self._gates.of(Quota(self._source, self.host, action))

    @property
    def declared_s(self) -> float | None:
        """By how much this cloud's lists lag, where it is a simulator: at an address of this
        machine, and every reply of it says so. None for a real one, or before it was heard."""
        return None if self._real else self._declared_s

    @property
    def unheard(self) -> bool:
        """Whether this may be a simulator, and the first reply will tell."""
        return self._local and not self._real and self._declared_s is None

    async def credential(self) -> Credential:
        """The credential to sign with; may wait for a refresh, so ask before the token.

        Raises:
            CredentialsError
        """
        credential = await self._credentials.get(self.profile)
        self._source = self._source or credential.quota_source
        return credential

    async def post(
        self, action: str, region: str, body: bytes, credential: Credential, start: Start
    ) -> Reply | Fault:
        """Sign and send now."""
        timestamp = int(self._clock.wall() + self.offset_s)
        request = tc3.sign(
            url=self.url,
            host=self.host,
            action=action,
            version=actions.VERSION,
            region=region,
            body=body,
            timestamp=timestamp,
            credential=credential,
        )
        outcome = await self._send.send(request, self._timeout_s, start)
        if isinstance(outcome, Fault):
            return outcome
        self._hear(outcome, timestamp)
        body = masked(outcome.body, credential.secrets)
        return outcome if body is outcome.body else outcome._replace(body=body)

    def _hear(self, reply: Reply, timestamp: int) -> None:
        """Learn from a reply to a call of that timestamp what it tells of the cloud's time."""
        if reply.date is not None:
            ahead = timestamp - reply.date
            if _AHEAD_S[0] < ahead <= _AHEAD_S[1]:
                self.ahead_s = max(self.ahead_s, ahead)
        if self._local and reply.visible_after_s is None:
            self._real = True
        elif self._local:
            self._declared_s = max(self._declared_s or 0.0, reply.visible_after_s or 0.0)

    async def read(self, action: str, region: str, body: bytes) -> faults.ReadRuling:
        """Ask a question that changes nothing: token, sign, send, classify.

        Raises:
            CredentialsError
        """
        for _ in range(_READ_RETRIES):
            credential = await self.credential()
            gate = self.gate(action)
            offset = self.offset_s
            try:
                start = Start(gate, await gate.start(), self._clock)
            except Shut as shut:
                return faults.read_ruling(Fault(FaultKind.CONNECT, False, str(shut), 0.0))
            outcome = await self.post(action, region, body, credential, start)
            ruling = faults.read_ruling(outcome)
            throttled = ruling.kind == "throttled"
            start.replied(throttled=throttled)
            mended = await self.mend(ruling.code, outcome, credential, offset)
            if not throttled and not mended:
                break
        return ruling

    async def mend(
        self, code: str, outcome: Reply | Fault, credential: Credential, offset_s: float
    ) -> bool:
        """Whether the cause of a refused signature was mended, so that sending again makes sense.

        A wrong clock is set by the reply's Date header; a refused key is read anew, which mends
        where its source has another by now. Each helps once: a call signed after the mend that is
        refused again is not mended again.
        """
        if code == _CLOCK_CODE and isinstance(outcome, Reply) and outcome.date is not None:
            if self.offset_s != offset_s:
                return True  # somebody mended it while this call was out
            learned = outcome.date - self._clock.wall()
            if abs(learned - offset_s) < _SKEW_WORTH_MENDING_S:
                return False
            self.offset_s = learned
            return True
        if code in _KEY_CODES:
            fresh = await self._credentials.get(self.profile)
            if _keys(fresh) == _keys(credential):  # nobody mended it while this call was out
                self._credentials.invalidate(self.profile)
                fresh = await self._credentials.get(self.profile)
            return _keys(fresh) != _keys(credential)
        return False


Reach = Callable[[str, str], Account]
"""(profile, region) -> the account that reaches it."""


def _keys(credential: Credential) -> tuple[str, str, str]:
    return credential.secret_id, credential.secret_key, credential.token
