"""Owns what an outcome looks like on the socket: replies, halves of replies, silence, cut lines."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from batchsnap.simulator.auth import SKEW_MAX_S
from batchsnap.simulator.outcomes import Outcome
from batchsnap.simulator.requests import Refused
from batchsnap.simulator.scenario import Kind

DECLARATION = "X-Batchsnap-Simulator"

_GATEWAY_PAGE = "<html><head><title>{0} Bad Gateway</title></head><body>{0}</body></html>\r\n"
_LOGIN_PAGE = "<html><head><title>Sign in</title></head><body>Network sign-in</body></html>\r\n"
_LINGER_0 = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN


class Scene(NamedTuple):
    """One call about to be answered. `perform` carries it out, or raises Refused."""

    outcome: Outcome
    perform: Callable[[], dict[str, Any]]
    request_id: str
    headers: Mapping[str, str]  # of every reply: see `headers_of`
    before_s: float  # from arrival to the deed
    after_s: float  # from the deed to the reply


async def respond(scene: Scene, request: web.BaseRequest) -> web.StreamResponse:
    """Let it happen. What is returned goes nowhere if the line was cut."""
    outcome = scene.outcome
    if scene.before_s > 0:
        await asyncio.sleep(scene.before_s)
    if outcome.kind is Kind.RESET:
        return _cut(request, hard=True)
    if outcome.kind is Kind.LATE:
        return await _late(scene, request)
    payload = _perform(scene) if outcome.committed else {}
    if scene.after_s > 0:
        await asyncio.sleep(scene.after_s)
    if outcome.kind is Kind.HANG:
        await asyncio.sleep(outcome.seconds)
    if outcome.kind in (Kind.HANG, Kind.LOST_REPLY):
        return _cut(request)
    if outcome.kind is Kind.ERROR_5XX:
        return _page(_GATEWAY_PAGE.format(outcome.status), outcome.status, scene.headers)
    if outcome.kind is Kind.HTML_200:
        return _page(_LOGIN_PAGE, 200, scene.headers)
    body = envelope(_said(outcome, payload), scene.request_id)
    if outcome.kind is Kind.TRUNCATED:
        return await _part(request, body, scene.headers)
    if outcome.kind is Kind.DRIP:
        return await _drip(request, body, scene)
    return reply(body, scene.headers)


def envelope(payload: dict[str, Any], request_id: str) -> bytes:
    """`{"Response": {…, "RequestId"}}`, the form of every reply."""
    return orjson.dumps({"Response": {**payload, "RequestId": request_id}})


def error_payload(refused: Refused) -> dict[str, Any]:
    """The `Error` of a reply; its HTTP status is 200 as the cloud's is."""
    return {"Error": {"Code": refused.code, "Message": refused.message}}


def headers_of(date: str, visible_after_s: float) -> dict[str, str]:
    """What every reply carries, errors and cut ones too.

    The cloud's Date, not the machine's: clients compare clocks by it. And the declaration that
    this is a rehearsal, with the seconds after which DescribeSnapshots shows what was made:
    only where it stands may a client shorten its patience.
    """
    return {"Date": date, DECLARATION: f"visible-after={visible_after_s:f}"}


def reply(body: bytes, headers: Mapping[str, str]) -> web.Response:
    """A whole JSON reply."""
    return web.Response(body=body, headers={**headers, "Content-Type": "application/json"})


def _said(outcome: Outcome, payload: dict[str, Any]) -> dict[str, Any]:
    """What the reply tells, which need not be what was done."""
    if outcome.kind is Kind.NULL_ID:
        return {"SnapshotId": None}
    return error_payload(Refused(outcome.code, outcome.message)) if outcome.code else payload


def _perform(scene: Scene) -> dict[str, Any]:
    try:
        return scene.perform()
    except Refused as refused:
        return error_payload(refused)


async def _late(scene: Scene, request: web.BaseRequest) -> web.StreamResponse:
    """The request lay about in the network after its connection was gone."""
    cut = _cut(request, hard=True)
    await asyncio.sleep(scene.outcome.seconds)
    # By then the cloud refuses the signature.
    if scene.outcome.seconds <= SKEW_MAX_S:
        _perform(scene)
    return cut


def _cut(request: web.BaseRequest, *, hard: bool = False) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if hard and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        transport.abort()
    return web.Response()


def _page(html: str, status: int, headers: Mapping[str, str]) -> web.StreamResponse:
    said = {**headers, "Content-Type": "text/html"}
    return web.Response(body=html.encode(), status=status, headers=said)


async def _begin(
    request: web.BaseRequest, body: bytes, headers: Mapping[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={**headers, "Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    return response


async def _part(
    request: web.BaseRequest, body: bytes, headers: Mapping[str, str]
) -> web.StreamResponse:
    response = await _begin(request, body, headers)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(request: web.BaseRequest, body: bytes, scene: Scene) -> web.StreamResponse:
    response = await _begin(request, body, scene.headers)
    for at in range(len(body)):
        await response.write(body[at : at + 1])
        await asyncio.sleep(scene.outcome.seconds / len(body))
    return response
