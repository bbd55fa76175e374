"""Owns the checks between a request's bytes and its action: keys, headers, body.

Which code a malformed request meets is documented by code, not by order; the order here is
credentials first, so that nobody learns anything without a signature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from batchsnap.simulator.bodies import ACTIONS, Refused
from batchsnap.simulator.signature import verify

VERSION = "2017-03-12"
DEFAULT_KEYS: Mapping[str, str] = {"AKIDsimulated": "simulated-secret-key"}
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")


class Order(NamedTuple):
    """A request that passed the desk."""

    action: str
    secret_id: str
    region: str
    body: Any


class TempKey(NamedTuple):
    """What the metadata service gave out. `expires` is Unix seconds."""

    secret_key: str
    token: str
    expires: float


class Desk:
    """Knows the keys. `keys` maps SecretId to SecretKey, `*` standing for any other SecretId."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self.keys = dict(keys)
        self.temporary: dict[str, TempKey] = {}

    def check(
        self, method: str, headers: Mapping[str, str], body: bytes, server_time: float
    ) -> Order:
        """The order, if the request is in order. Raises Refused."""
        if method != "POST":
            raise Refused("UnsupportedProtocol", "This simulator takes POST alone.")
        content_type = headers.get("Content-Type", "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise Refused("UnsupportedProtocol", "`Content-Type` must be application/json.")
        action = headers.get("X-TC-Action", "")
        if not action:
            raise Refused("MissingParameter", "The header `X-TC-Action` is missing.")
        secret_id = verify(headers, body, self.keys, server_time)
        self._check_token(secret_id, headers.get("X-TC-Token", ""), server_time)
        version = headers.get("X-TC-Version")
        if not version:
            raise Refused("MissingParameter", "The header `X-TC-Version` is missing.")
        if version != VERSION:
            raise Refused("NoSuchVersion", f"There is no version `{version}`.")
        if action not in ACTIONS:
            raise Refused("InvalidAction", f"There is no action `{action}` here.")
        region = headers.get("X-TC-Region", "")
        if not region:
            raise Refused("MissingParameter", "The header `X-TC-Region` is missing.")
        if not _REGION.fullmatch(region):
            raise Refused("UnsupportedRegion", f"There is no region `{region}`.")
        try:
            return Order(action, secret_id, region, orjson.loads(body))
        except orjson.JSONDecodeError:
            raise Refused("InvalidParameter", "The body is not JSON.") from None

    def lend(self, secret_id: str, key: TempKey) -> None:
        """Accept a temporary key until it expires."""
        self.keys[secret_id] = key.secret_key
        self.temporary[secret_id] = key

    def _check_token(self, secret_id: str, token: str, server_time: float) -> None:
        lent = self.temporary.get(secret_id)
        if lent is None:
            if token:
                raise Refused("AuthFailure.TokenFailure", "This SecretId comes without a token.")
        elif token != lent.token or server_time >= lent.expires:
            raise Refused("AuthFailure.TokenFailure", "The token is wrong or has expired.")
