"""Owns who may ask: the server's half of TC3-HMAC-SHA256, and the checks between a request's bytes
and its action.

The signature is written from the product's description of the method ("Signature v3"), step by
step, and on purpose without the client's code: a mistake made twice would prove nothing. Which code
a malformed request meets is documented by code, not by order; the order here is credentials first,
so that nobody learns anything without a signature.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from batchsnap.simulator.outcomes import word
from batchsnap.simulator.requests import ACTIONS, OF_STS, Refused

ALGORITHM = "TC3-HMAC-SHA256"
SERVICE = "cbs"
STS = "sts"
SKEW_MAX_S = 300.0
ANY_ID = "*"  # in a table of keys: the key of every SecretId that isn't named

_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256\s+Credential=(?P<id>[^/,\s]+)/(?P<date>\d{4}-\d\d-\d\d)/(?P<service>[a-z]+)"
    r"/tc3_request,\s*SignedHeaders=(?P<signed>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Mapping[str, str],
    server_time: float,
    service: str = SERVICE,
) -> str:
    """The SecretId of a rightly signed `POST /` to a service with exactly this body.

    `headers` as received, looked up without regard to case; `keys` maps SecretId to SecretKey;
    `server_time` is Unix seconds. Raises Refused with the cloud's AuthFailure codes.
    """
    parts = _AUTHORIZATION.fullmatch(headers.get("Authorization", "").strip())
    if parts is None:
        raise Refused("AuthFailure.InvalidAuthorization", "`Authorization` is not well formed.")
    timestamp = headers.get("X-TC-Timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 11:
        raise Refused("MissingParameter", "`X-TC-Timestamp` must be Unix seconds.")
    secret_id, date, signed = parts["id"], parts["date"], parts["signed"]
    key = keys.get(secret_id, keys.get(ANY_ID))
    if key is None:
        raise Refused("AuthFailure.SecretIdNotFound", "There is no such SecretId.")
    if abs(server_time - int(timestamp)) > SKEW_MAX_S:
        raise Refused("AuthFailure.SignatureExpire", "The timestamp is over 300 s off.")
    if date != _utc_date(int(timestamp) // 86400):
        raise Refused("AuthFailure.SignatureFailure", "The date is not the timestamp's in UTC.")
    if parts["service"] != service:
        raise Refused("AuthFailure.SignatureFailure", f"The scope must name `{service}`.")
    expected = _sign(key, date, service, timestamp, _canonical(headers, signed, body))
    if not hmac.compare_digest(expected, parts["signature"]):
        raise Refused("AuthFailure.SignatureFailure", "The signature does not match the request.")
    return secret_id


def _canonical(headers: Mapping[str, str], signed: str, body: bytes) -> str:
    names = signed.split(";")
    if names != sorted(set(names)) or not {"content-type", "host"} <= set(names):
        raise Refused(
            "AuthFailure.InvalidAuthorization",
            "`SignedHeaders` must be sorted and hold `content-type` and `host`.",
        )
    lines = []
    for name in names:
        value = headers.get(name)
        if value is None:
            raise Refused("AuthFailure.SignatureFailure", f"There is no header `{name}`.")
        lines.append(f"{name}:{value.strip().lower()}\n")
    return f"POST\n/\n\n{''.join(lines)}\n{signed}\n{sha256(body).hexdigest()}"


def _sign(key: str, date: str, service: str, timestamp: str, canonical: str) -> str:
    digest = sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{ALGORITHM}\n{timestamp}\n{date}/{service}/tc3_request\n{digest}"
    return hmac.digest(_signing_key(key, date, service), text.encode(), "sha256").hex()


@lru_cache(maxsize=256)
def _signing_key(key: str, date: str, service: str) -> bytes:
    of_date = hmac.digest(f"TC3{key}".encode(), date.encode(), "sha256")
    of_service = hmac.digest(of_date, service.encode(), "sha256")
    return hmac.digest(of_service, b"tc3_request", "sha256")


@lru_cache(maxsize=16)
def _utc_date(day: int) -> str:
    return datetime.fromtimestamp(day * 86400, UTC).strftime("%Y-%m-%d")


VERSIONS: Mapping[str, str] = {SERVICE: "2017-03-12", STS: "2018-08-13"}
ACCOUNT = "100000000001"  # of everybody here
DEFAULT_KEYS: Mapping[str, str] = {"AKIDsimulated": "simulated-secret-key"}
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")


class VerifiedCall(NamedTuple):
    """A request whose sender may ask for it."""

    action: str
    secret_id: str
    region: str
    body: Any


class TempKey(NamedTuple):
    """What the metadata service or STS gave out. `expires` is Unix seconds."""

    secret_key: str
    token: str
    expires: float
    role: str = ""  # its name and session


class Authenticator:
    """Knows the keys. `keys` maps SecretId to SecretKey, `*` standing for any other SecretId."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self.keys = dict(keys)
        self.temporary: dict[str, TempKey] = {}

    def check(
        self, method: str, headers: Mapping[str, str], body: bytes, server_time: float
    ) -> VerifiedCall:
        """The order, if the request is in order. Raises Refused."""
        if method != "POST":
            raise Refused("UnsupportedProtocol", "This simulator takes POST alone.")
        content_type = headers.get("Content-Type", "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise Refused("UnsupportedProtocol", "`Content-Type` must be application/json.")
        action = headers.get("X-TC-Action", "")
        if not action:
            raise Refused("MissingParameter", "The header `X-TC-Action` is missing.")
        service = STS if action in OF_STS else SERVICE
        secret_id = verify(headers, body, self.keys, server_time, service)
        self._check_token(secret_id, headers.get("X-TC-Token", ""), server_time)
        version = headers.get("X-TC-Version")
        if not version:
            raise Refused("MissingParameter", "The header `X-TC-Version` is missing.")
        if version != VERSIONS[service]:
            raise Refused("NoSuchVersion", f"There is no version `{version}`.")
        if action not in ACTIONS:
            raise Refused("InvalidAction", f"There is no action `{action}` here.")
        region = headers.get("X-TC-Region", "")
        if not region:
            raise Refused("MissingParameter", "The header `X-TC-Region` is missing.")
        if not _REGION.fullmatch(region):
            raise Refused("UnsupportedRegion", f"There is no region `{region}`.")
        try:
            return VerifiedCall(action, secret_id, region, orjson.loads(body))
        except orjson.JSONDecodeError:
            raise Refused("InvalidParameter", "The body is not JSON.") from None

    def lend(self, seed: int, expires: float, role: str = "") -> tuple[str, TempKey]:
        """A new temporary key of a role (its SecretId and the rest), accepted until it expires."""
        labels = (seed, "loan", len(self.temporary) + 1)
        secret_id = f"AKIDrole{word(*labels, 'id')}"
        key = TempKey(f"key-{word(*labels, 'key')}", f"token-{word(*labels)}", expires, role)
        self.keys[secret_id] = key.secret_key
        self.temporary[secret_id] = key
        return secret_id, key

    def perform(
        self, action: str, secret_id: str, body: Mapping[str, Any], seed: int, server_time: float
    ) -> dict[str, Any]:
        """Carry out a call of STS: its part of the reply. Raises Refused."""
        if action == "GetCallerIdentity":
            return self._identity(secret_id)
        role, session, seconds = _role_of(body)
        temporary, key = self.lend(seed, server_time + seconds, f"{role}:{session}")
        return {
            "Credentials": {
                "TmpSecretId": temporary,
                "TmpSecretKey": key.secret_key,
                "Token": key.token,
            },
            "ExpiredTime": int(key.expires),
        }

    def _identity(self, secret_id: str) -> dict[str, Any]:
        """Keys whose ids are alike up to a dash are keys of one sub-account."""
        lent = self.temporary.get(secret_id)
        if lent is not None:
            role = lent.role.partition(":")[0]
            arn = f"qcs::sts:{ACCOUNT}:assumed-role/{role}"
            return {"AccountId": ACCOUNT, "Arn": arn, "UserId": lent.role, "Type": "CAMRole"}
        uin = str(int(word("uin", secret_id.partition("-")[0]), 36))
        arn = f"qcs::cam:{ACCOUNT}:uin/{uin}"
        return {"AccountId": ACCOUNT, "Arn": arn, "UserId": uin, "Type": "CAMUser"}

    def _check_token(self, secret_id: str, token: str, server_time: float) -> None:
        lent = self.temporary.get(secret_id)
        if lent is None:
            if token:
                raise Refused("AuthFailure.TokenFailure", "This SecretId comes without a token.")
        elif token != lent.token or server_time >= lent.expires:
            raise Refused("AuthFailure.TokenFailure", "The token is wrong or has expired.")


def _role_of(body: Mapping[str, Any]) -> tuple[str, str, int]:
    """(role's id, session's name, seconds) of an AssumeRole body. Raises Refused."""
    arn, session = body.get("RoleArn", ""), body.get("RoleSessionName", "")
    if not arn or not session:
        raise Refused("MissingParameter", "`RoleArn` and `RoleSessionName` must be given.")
    role = re.fullmatch(r"qcs::cam::uin/[0-9]+:roleName/([0-9A-Za-z_+=,.@-]+)", arn)
    if role is None:
        raise Refused("ResourceNotFound.RoleNotFound", "There is no such role.")
    if not re.fullmatch(r"[0-9A-Za-z_+=,.@-]{2,128}", session):
        raise Refused("InvalidParameter.ParamError", "`RoleSessionName` is not well formed.")
    seconds: int = body.get("DurationSeconds", 7200)
    if not 0 < seconds <= 43200:
        raise Refused("InvalidParameter.OverTimeError", "`DurationSeconds` is at most 43200.")
    return role[1], session, seconds
