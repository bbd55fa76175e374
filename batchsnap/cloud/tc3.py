"""TC3-HMAC-SHA256 in stages, so that a mismatch names the stage that broke.

Source: Tencent Cloud "Signature v3" page and the signers of the published SDKs. What is signed is
what is sent: the same body bytes and the same Content-Type.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING

from batchsnap.model import SignedRequest

ALGORITHM = "TC3-HMAC-SHA256"
CONTENT_TYPE = "application/json"
SERVICE = "cbs"
_TERMINATOR = "tc3_request"
_SIGNED = "content-type;host"
_BLOCK_BYTES = 64  # of SHA-256, to which HMAC pads its key

if TYPE_CHECKING:
    from hashlib import _Hash


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """Keys to sign with. Its repr and str tell only where they came from."""

    secret_id: str
    secret_key: str
    token: str  # "" with permanent keys
    source: str
    expires_at: float | None = None  # Unix seconds; None: does not expire

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be told, wherever it turns up."""
        return (self.secret_key, self.token, self.secret_id)

    def __repr__(self) -> str:
        return f"Credential({self.source})"

    @property
    def quota_source(self) -> str:
        """Whose allowance its calls use. The cloud counts by SecretId, wherever that was found, so
        a permanent key stands under a digest of it; a temporary one changes its SecretId with each
        refresh, and stands under the role or place it came from."""
        if self.token:
            return self.source
        return "key:" + blake2b(self.secret_id.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=4)
def date_of(day: int) -> str:
    """The UTC day of that number since 1970, YYYY-MM-DD: the local day fails between midnights."""
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def payload_hash(body: bytes) -> str:
    """Hex SHA-256 of the body; a GET has an empty one."""
    return sha256(body).hexdigest()


def canonical_request(
    *, method: str, path: str, query: str, headers: Mapping[str, str], hashed_payload: str
) -> str:
    """Six parts, a line each; the header block ends with a newline of its own.

    `headers` are those to be signed; names and values are lower-cased here and sorted by name.
    """
    lowered = sorted((k.lower(), v.strip().lower()) for k, v in headers.items())
    block = "".join(f"{name}:{value}\n" for name, value in lowered)
    names = ";".join(name for name, _ in lowered)
    return f"{method}\n{path}\n{query}\n{block}\n{names}\n{hashed_payload}"


def credential_scope(date: str, service: str) -> str:
    """What the derived key is good for: date/service/tc3_request."""
    return f"{date}/{service}/{_TERMINATOR}"


def string_to_sign(timestamp: int, scope: str, hashed: str) -> str:
    """Four lines: algorithm, Unix seconds, scope, hash of the canonical request."""
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{hashed}"


def signing_keys(secret_key: str, date: str, service: str) -> tuple[bytes, bytes, bytes]:
    """The three derived keys: of the day, of the service, and the one that signs."""
    day = hmac.digest(f"TC3{secret_key}".encode(), date.encode(), "sha256")
    of_service = hmac.digest(day, service.encode(), "sha256")
    return day, of_service, hmac.digest(of_service, _TERMINATOR.encode(), "sha256")


def authorization(*, secret_id: str, scope: str, names: str, signed: str) -> str:
    """The Authorization header; `names` are those of the signed headers."""
    return f"{ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={names}, Signature={signed}"


# Hashes that were fed what is the same for every call; each signature goes on with copies.


@lru_cache(maxsize=256)
def _fixed_part(host: str) -> _Hash:
    """All of a POST's canonical request but its payload hash."""
    headers = {"Content-Type": CONTENT_TYPE, "Host": host}
    fixed = canonical_request(method="POST", path="/", query="", headers=headers, hashed_payload="")
    return sha256(fixed.encode())


@lru_cache(maxsize=256)
def _fixed_today(
    secret_id: str, secret_key: str, day: int, service: str
) -> tuple[_Hash, _Hash, str, str]:
    """(HMAC's inner and outer hash with the signing key, scope, Authorization up to the signature)
    of a key for a whole UTC day."""
    date = date_of(day)
    scope = credential_scope(date, service)
    head = authorization(secret_id=secret_id, scope=scope, names=_SIGNED, signed="")
    key = signing_keys(secret_key, date, service)[2].ljust(_BLOCK_BYTES, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in key))
    outer = sha256(bytes(byte ^ 0x5C for byte in key))
    return inner, outer, scope, head


def sign(
    *,
    url: str,
    host: str,
    action: str,
    version: str,
    region: str,
    body: bytes,
    timestamp: int,
    credential: Credential,
    service: str = SERVICE,
) -> SignedRequest:
    """A POST of `body`, signed for `timestamp` (Unix seconds); dead 300 s later.

    `host` is the exact Host header, with the port where it is not the scheme's own.
    """
    inner, outer, scope, head = _fixed_today(
        credential.secret_id, credential.secret_key, timestamp // 86_400, service
    )
    canonical = _fixed_part(host).copy()
    canonical.update(payload_hash(body).encode())
    to_sign = string_to_sign(timestamp, scope, canonical.hexdigest())
    first, signed = inner.copy(), outer.copy()
    first.update(to_sign.encode())
    signed.update(first.digest())
    headers: tuple[tuple[str, str], ...] = (
        ("Host", host),
        ("Content-Type", CONTENT_TYPE),
        ("X-TC-Action", action),
        ("X-TC-Version", version),
        ("X-TC-Timestamp", str(timestamp)),
        ("X-TC-Region", region),
        ("X-TC-Language", "en-US"),
        ("Authorization", head + signed.hexdigest()),
    )
    if credential.token:
        headers += (("X-TC-Token", credential.token),)
    return SignedRequest(url, headers, body)
