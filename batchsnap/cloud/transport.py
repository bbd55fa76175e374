"""The client's door: sends a signed request once and tells what came back.

Nothing remote raises. `Fault.sent` is False only where surely no byte of the request left: it is
set by the line before our own write. Nothing is ever sent twice, a redirect never followed, a
cookie never kept, a body read only up to a bound. A call that is cancelled or fails closes its
connection.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import inf
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http import HttpProcessingError

from batchsnap.clock import Timeouts
from batchsnap.cloud.endpoints import is_loopback
from batchsnap.cloud.proxies import Proxy, proxy_of
from batchsnap.cloud.wire import Answer, TooLarge, Unasked, Wire, Wires, message
from batchsnap.failpoints import failpoint
from batchsnap.model import Departure, Fault, FaultKind, Reply, SignedRequest

BODY_MAX_BYTES = 8 << 20
SIMULATOR_HEADER = "X-Batchsnap-Simulator"  # "visible-after=SECONDS", in every reply of one
KEEPALIVE_S = 15.0  # well below a server's own, so that few sends meet a closing connection
CONNECT_WITHIN_S = 10.0
_PROXY_AUTH = 407
_METADATA_MAX_BYTES = 64 << 10
_LASTING = frozenset({FaultKind.CERTIFICATE, FaultKind.PROXY_AUTH, FaultKind.REFUSED})
_REMOTE = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)


class _NotLoopback(OSError):
    """An address that a signed request must not reach in the clear."""

    def __init__(self) -> None:
        # One text for all addresses of a name, or the library merges them into a plain OSError.
        super().__init__(errno.EACCES, "plain http goes to loopback addresses only")


class Transport:
    """Connections to every host of a run. An async context manager.

    `connections` bounds how many are open at once, 0 is no bound: the engine's slots are the bound,
    and a wait for the pool would come between a token and its send.
    """

    def __init__(self, *, body_max_bytes: int = BODY_MAX_BYTES, connections: int = 0) -> None:
        self._body_max_bytes = body_max_bytes
        self._connections = connections
        self._wires: dict[str, Wires] = {}
        self._proxies: dict[str, Proxy] = {}
        self._timeouts: dict[float, Timeouts] = {}
        self._answered: set[str] = set()  # URLs whose host has answered something

    async def __aenter__(self) -> Self:
        self._wires = {
            "https": Wires(self._connections, KEEPALIVE_S),
            "http": Wires(self._connections, KEEPALIVE_S, _loopback_socket),
        }
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for wires in self._wires.values():
            await wires.close()

    async def send(
        self,
        request: SignedRequest,
        timeout_s: float,
        start: Departure | None = None,
    ) -> Reply | Fault:
        """POST once; `timeout_s` bounds everything from connecting to the last byte. `start` is
        asked for leave when the connection is there, directly before the bytes are written, and
        told directly after."""
        loop = asyncio.get_running_loop()
        began, left_at = loop.time(), 0.0
        try:
            data = message("POST", "/", request.headers, request.body)
            with self._within(timeout_s).begin():
                wire = await self._ready(request.url, timeout_s, start)
                try:
                    failpoint("about_to_write")
                    left_at = loop.time()  # from here on bytes may have left
                    wire.write(data)
                    if start is not None:
                        start.left()
                    failpoint("bytes_sent")
                    answer = await wire.read(self._body_max_bytes)
                except BaseException:
                    wire.close()
                    raise
                wire.release()
            self._answered.add(request.url)
            return _reply(answer, (loop.time() - left_at) * 1000)
        except _REMOTE as error:
            error.__traceback__ = None  # aiohttp keeps the error, which keeps what was read so far
            latency_ms = (loop.time() - (left_at or began)) * 1000
            kind = _kind(error)
            lasting = kind in _LASTING and request.url not in self._answered
            return Fault(kind, left_at > 0, _words(error), latency_ms, lasting)

    async def warm(self, url: str, connections: int) -> None:
        """Open connections and park them, so that the first starts wait for none. No request is
        sent. Best effort: what fails here fails again, and is told, when it is used."""
        if self._proxy(url).url is not None:
            return
        opened: list[Wire] = []

        async def connect() -> None:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                opened.append(await self._wires_of(url).open(url, CONNECT_WITHIN_S))

        try:
            # All are held until all are open, else the next would be given the one before.
            await asyncio.gather(*(connect() for _ in range(connections)), return_exceptions=True)
        finally:
            for wire in opened:
                wire.release()

    async def _ready(self, url: str, timeout_s: float, start: Departure | None) -> Wire:
        """A connection on which the call may leave now. One that was in use before and is no
        good any more is closed, and another taken."""
        wires, proxy = self._wires_of(url), self._proxy(url)
        while True:
            wire = await wires.open(url, min(timeout_s, CONNECT_WITHIN_S), proxy)
            try:
                if start is not None:
                    await start.leave()
            except BaseException:
                wire.close()
                raise
            if wire.quiet:
                return wire
            wire.close()
            if wire.fresh:
                raise Unasked(errno.EPROTO, "the host closed the connection or spoke first")

    def _within(self, seconds: float) -> Timeouts:
        timeouts = self._timeouts.get(seconds)
        if timeouts is None:
            timeouts = self._timeouts[seconds] = Timeouts(seconds)
        return timeouts

    def _wires_of(self, url: str) -> Wires:
        return self._wires[url.partition(":")[0]]

    def _proxy(self, url: str) -> Proxy:
        proxy = self._proxies.get(url)
        if proxy is None:
            proxy = self._proxies[url] = proxy_of(url)
        return proxy


async def post_once(request: SignedRequest, timeout_s: float) -> Reply | Fault:
    """A signed call over a connection of its own, for those made once in an hour."""
    async with Transport() as transport:
        return await transport.send(request, timeout_s)


async def get_unsigned(url: str, timeout_s: float) -> tuple[int, bytes] | None:
    """(status, body) of a GET without any key, or None. For the metadata service, which is
    link-local and plain http by nature."""
    parts = urlsplit(url)
    wires = Wires()
    try:
        data = message("GET", parts.path or "/", (("Host", parts.netloc),))
        async with asyncio.timeout(timeout_s):
            wire = await wires.open(url, timeout_s)
            try:
                wire.write(data)
                answer = await wire.read(_METADATA_MAX_BYTES)
            finally:
                wire.close()
    except _REMOTE:
        return None
    finally:
        await wires.close()
    return answer.status, answer.body


def _loopback_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that a signed request may reach in the clear."""
    family, kind, protocol, _, target = address
    if not is_loopback(target[0]):
        raise _NotLoopback
    return socket.socket(family, kind, protocol)


def _kind(error: Exception) -> FaultKind:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FaultKind.DNS
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _NotLoopback):
        return FaultKind.REFUSED
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return FaultKind.CERTIFICATE
    if isinstance(error, aiohttp.ClientHttpProxyError) and error.status == _PROXY_AUTH:
        return FaultKind.PROXY_AUTH
    if isinstance(error, aiohttp.ClientSSLError):
        return FaultKind.TLS
    if isinstance(error, TimeoutError):
        return FaultKind.TIMEOUT
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError):
        return FaultKind.CONNECT
    if isinstance(error, TooLarge):
        return FaultKind.TOO_LARGE
    if isinstance(error, aiohttp.ClientPayloadError | HttpProcessingError | ValueError):
        return FaultKind.GARBLED
    return FaultKind.RESET


def _words(error: Exception) -> str:
    """What happened, in words that hold nothing the other side sent: it may echo our secrets."""
    if isinstance(error, TooLarge):
        return "the body is larger than any reply of the API"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or "not trusted"
        return f"the certificate of {error.host} does not verify: {why}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status}"
    if isinstance(error, HttpProcessingError):
        return "the reply is not HTTP, or its head is too large"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body is cut short or garbled"
    return str(error) or type(error).__name__


def _reply(answer: Answer, latency_ms: float) -> Reply:
    headers = answer.headers
    date = _date(headers.get("Date", ""))
    return Reply(answer.status, answer.body, date, latency_ms, _visible_after(headers))


@lru_cache(maxsize=16)
def _date(text: str) -> float | None:
    """Unix seconds of a Date header, which is the same for a whole second's replies."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (LookupError, ValueError, TypeError, OverflowError):
        return None


def _visible_after(headers: Mapping[str, str]) -> float | None:
    """What a simulator declares of itself; None where it is none, or says nothing of use."""
    name, _, seconds = headers.get(SIMULATOR_HEADER, "").partition("=")
    try:
        declared_s = float(seconds) if name.strip() == "visible-after" else -1.0
    except ValueError:
        return None
    return declared_s if 0 <= declared_s < inf else None
