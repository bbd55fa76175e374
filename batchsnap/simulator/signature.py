"""Owns the server's half of TC3-HMAC-SHA256: is this request signed by the key it names?

Written from the product's description of the method ("Signature v3"), step by step, and on
purpose without the client's code: a mistake made twice would prove nothing.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256

from batchsnap.simulator.bodies import Refused

ALGORITHM = "TC3-HMAC-SHA256"
SERVICE = "cbs"
SKEW_MAX_S = 300.0
ANY_ID = "*"  # in a table of keys: the key of every SecretId that isn't named

_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256\s+Credential=(?P<id>[^/,\s]+)/(?P<date>\d{4}-\d\d-\d\d)/(?P<service>[a-z]+)"
    r"/tc3_request,\s*SignedHeaders=(?P<signed>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)


def verify(
    headers: Mapping[str, str], body: bytes, keys: Mapping[str, str], server_time: float
) -> str:
    """The SecretId of a rightly signed `POST /` with exactly this body.

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
    if parts["service"] != SERVICE:
        raise Refused("AuthFailure.SignatureFailure", f"The scope must name `{SERVICE}`.")
    expected = _sign(key, date, timestamp, _canonical(headers, signed, body))
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


def _sign(key: str, date: str, timestamp: str, canonical: str) -> str:
    digest = sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{ALGORITHM}\n{timestamp}\n{date}/{SERVICE}/tc3_request\n{digest}"
    return hmac.digest(_signing_key(key, date), text.encode(), "sha256").hex()


@lru_cache(maxsize=256)
def _signing_key(key: str, date: str) -> bytes:
    of_date = hmac.digest(f"TC3{key}".encode(), date.encode(), "sha256")
    of_service = hmac.digest(of_date, SERVICE.encode(), "sha256")
    return hmac.digest(of_service, b"tc3_request", "sha256")


@lru_cache(maxsize=16)
def _utc_date(day: int) -> str:
    return datetime.fromtimestamp(day * 86400, UTC).strftime("%Y-%m-%d")
