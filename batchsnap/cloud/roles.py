"""Calls of STS: the keys of a role, asked for with another credential, and whose a credential is.

Source: the AssumeRole and GetCallerIdentity pages, version 2018-08-13, and tccli's description of
both. STS is asked at the site of the endpoint that the keys are for: intl, mainland or internal.
Both calls change nothing, so they are simply made again where no answer came.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import anyio
import orjson

from batchsnap.cloud import tc3
from batchsnap.cloud.endpoints import host_of, sts_url
from batchsnap.cloud.faults import ReadRuling, hint, masked, read_ruling
from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import CredentialsError
from batchsnap.model import Fault, Reply, SignedRequest

SERVICE = "sts"
VERSION = "2018-08-13"
SESSION_NAME = "batchsnap"
DURATION_S = 7200  # the API's own default
DURATION_MAX_S = 43_200
WITHIN_S = 10.0  # for one call
_TRIES = 3
_PAUSE_S = 1.0
_KEY_FIELDS = ("TmpSecretId", "TmpSecretKey", "Token")
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,128}", re.ASCII)
_CLOCK_CODE = "AuthFailure.SignatureExpire"
_TRUST = (
    "check its name, allow sts:AssumeRole on it to this key, and let the role trust the key's "
    "account"
)

Post = Callable[[SignedRequest, float], Awaitable[Reply | Fault]]
"""(request, timeout in seconds) -> what came back of it; sent once."""


class Role(NamedTuple):
    """A role to be assumed, and the place that asks for it."""

    arn: str  # qcs::cam::uin/UIN:roleName/NAME
    place: str
    session_name: str = SESSION_NAME
    duration_s: int = DURATION_S
    external_id: str = ""

    def check(self) -> None:
        """Raise CredentialsError for what the cloud can't take."""
        if not self.arn.isascii() or not self.arn.isprintable() or " " in self.arn:
            raise CredentialsError(f"{self.place} names a role that is none: qcs::cam::uin/UIN:…")
        if not _SESSION_NAME.fullmatch(self.session_name):
            raise CredentialsError(
                f"{self.place}: the session's name must be 2 to 128 letters, digits or _+=,.@-"
            )
        if not 0 < self.duration_s <= DURATION_MAX_S:
            raise CredentialsError(
                f"{self.place}: a session lasts from 1 to {DURATION_MAX_S} seconds"
            )


class Caller(NamedTuple):
    """Whose a credential is."""

    account: str  # uin of the main account
    identity: str  # ARN; the cloud counts calls by it


class Sts:
    """STS at the site of an endpoint; `region` fills its header and a `{region}` in the host."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        post: Post,
        *,
        now: Callable[[], float] = time.time,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._endpoint = endpoint
        self._region = region
        self._post = post
        self._now = now
        self._pause_s = pause_s
        self._offset_s = 0.0  # the cloud's clock minus ours, once learned

    async def assume(self, role: Role, base: Credential) -> Credential:
        """The role's temporary keys, asked for with `base`.

        Raises:
            CredentialsError: they can't be had, with the cloud's code and what to do.
        """
        role.check()
        asked: dict[str, Any] = {
            "RoleArn": role.arn,
            "RoleSessionName": role.session_name,
            "DurationSeconds": role.duration_s,
        }
        if role.external_id:
            asked["ExternalId"] = role.external_id
        ruling = await self._ask("AssumeRole", asked, base)
        if ruling.kind != "ok":
            raise CredentialsError(
                f"{role.place} asks for the role {role.arn}, which can't be had from {self._host} "
                f"with {base!r}: {ruling.code}: {ruling.message}. {_remedy(ruling.code)}"
            )
        keys, ends = ruling.response.get("Credentials"), ruling.response.get("ExpiredTime")
        keys = keys if isinstance(keys, dict) else {}
        secret_id, secret_key, token = (keys.get(name) for name in _KEY_FIELDS)
        whole = isinstance(secret_id, str) and isinstance(secret_key, str) and secret_id
        if not whole or not isinstance(token, str) or not isinstance(ends, int | float):
            raise CredentialsError(
                f"{self._host} gave no keys for the role {role.arn} of {role.place}: run again"
            )
        ends_here = float(ends) - self._offset_s
        return Credential(str(secret_id), str(secret_key), token, f"role:{role.arn}", ends_here)

    async def caller(self, credential: Credential) -> Caller | None:
        """Whose this credential is; None where that can't be learned."""
        ruling = await self._ask("GetCallerIdentity", {}, credential)
        account, identity = ruling.response.get("AccountId"), ruling.response.get("Arn")
        if not isinstance(account, str) or not isinstance(identity, str) or not account:
            return None
        return Caller(account, identity)

    @property
    def _host(self) -> str:
        return host_of(sts_url(self._endpoint, self._region))

    async def _ask(self, action: str, asked: dict[str, Any], credential: Credential) -> ReadRuling:
        """A call, again where no answer came or our clock was wrong."""
        url, tries = sts_url(self._endpoint, self._region), 0
        while True:
            request = tc3.sign(
                url=url,
                host=host_of(url),
                action=action,
                version=VERSION,
                region=self._region,
                body=orjson.dumps(asked),
                timestamp=int(self._now() + self._offset_s),
                credential=credential,
                service=SERVICE,
            )
            outcome = await self._post(request, WITHIN_S)
            date = outcome.date if isinstance(outcome, Reply) else None
            if isinstance(outcome, Reply):
                outcome = outcome._replace(body=masked(outcome.body, credential.secrets))
            ruling, tries = read_ruling(outcome), tries + 1
            if ruling.code == _CLOCK_CODE and date is not None:
                self._offset_s = date - self._now()
            elif ruling.kind in {"temporary", "throttled"}:
                await anyio.sleep(self._pause_s if tries < _TRIES else 0.0)
            else:
                return ruling
            if tries >= _TRIES:
                return ruling


def _remedy(code: str) -> str:
    family, _, rest = code.partition(".")
    if family == "AuthFailure" and rest != "UnauthorizedOperation":
        return hint(code)
    if family == "fault":
        return "Check network, proxy and --endpoint"
    return _TRUST
