"""Owns the unsigned doors, for loopback alone: `/_sim/…`, and an imitation of the metadata service.

GET /_sim/health · GET /_sim/state (`?brief=1` without the snapshots) · POST /_sim/scenario
(JSON of `scenario.scenario_of`) · POST /_sim/reset ·
GET /latest/meta-data/cam/security-credentials/[ROLE]
"""

from __future__ import annotations

import ipaddress
from typing import Any

import orjson
from aiohttp import web

from batchsnap.errors import UsageError
from batchsnap.simulator.account import Cloud
from batchsnap.simulator.auth import Authenticator, TempKey
from batchsnap.simulator.resources import iso
from batchsnap.simulator.scenario import scenario_of

ROLE = "batchsnap-role"
_ROLES = "/latest/meta-data/cam/security-credentials/"


class Control:
    """Answers what isn't `POST /`."""

    def __init__(self, cloud: Cloud, authenticator: Authenticator) -> None:
        self._cloud = cloud
        self._authenticator = authenticator
        self._lent: tuple[str, TempKey] | None = None

    async def answer(self, request: web.BaseRequest, now: float) -> web.Response:
        """The reply: 403 to a caller from elsewhere, 404 for a path, 400 for a body unknown."""
        if not _is_loopback(request.remote):
            return web.Response(status=403, text="only from this machine\n")
        match request.method, request.path:
            case "GET", "/_sim/health":
                return _json({"ok": True})
            case "GET", "/_sim/state":
                return _json(self._cloud.state(now, brief=bool(request.query.get("brief"))))
            case "POST", "/_sim/reset":
                self._cloud.reset()
                return _json({"ok": True})
            case "POST", "/_sim/scenario":
                return self._change(await request.read())
            case "GET", path if path == _ROLES:
                return web.Response(text=ROLE)
            case "GET", path if path == _ROLES + ROLE:
                return _json(self._lend(now + self._cloud.scenario.clock_offset_s))
        return web.Response(status=404, text="no such path\n")

    def _change(self, body: bytes) -> web.Response:
        try:
            scenario = scenario_of(orjson.loads(body))
        except (orjson.JSONDecodeError, UsageError) as error:
            return web.Response(status=400, text=f"{error}\n")
        self._cloud.change(scenario)
        return _json(scenario.to_json())

    def _lend(self, server_time: float) -> dict[str, Any]:
        """The keys of the role: the same ones until half of their life is over."""
        life_s = self._cloud.scenario.role_ttl_s
        if self._lent is None or self._lent[1].expires - server_time < life_s / 2:
            seed = self._cloud.scenario.seed
            self._lent = self._authenticator.lend(seed, server_time + life_s, f"{ROLE}:machine")
        secret_id, key = self._lent
        return {
            "Code": "Success",
            "TmpSecretId": secret_id,
            "TmpSecretKey": key.secret_key,
            "Token": key.token,
            "ExpiredTime": int(key.expires),
            "Expiration": iso(key.expires).replace("+00:00", "Z"),
        }


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _is_loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False
