"""The only client use of aiohttp: sends a signed request once and tells what came back.

Nothing remote raises. `Fault.sent` is False only where surely no byte of the request left, which
is known from the moment the library begins to write the headers. A redirect is never followed, a
cookie never kept, a body read only up to a bound. aiohttp sends a POST again by itself in no case.

The environment's proxy is looked up here, once, and not by aiohttp's `trust_env`: that goes
through two threads for every request, between the token and the send, and lets a ~/.netrc fail
each request that has an Authorization header of its own.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import inf
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import ClientTimeout, TraceConfig
from yarl import URL

from batchsnap.cloud.quotas import is_loopback
from batchsnap.failpoints import failpoint
from batchsnap.model import Fault, FaultKind, Leave, Reply, SignedRequest
from batchsnap.version import __version__

BODY_MAX_BYTES = 8 << 20
HEADER_MAX_BYTES = 16 << 10
SIMULATOR_HEADER = "X-Batchsnap-Simulator"  # "visible-after=SECONDS", in every reply of one
KEEPALIVE_S = 15.0  # well below a server's own, so that few sends meet a closing connection
_METADATA_MAX_BYTES = 64 << 10
CONNECT_WITHIN_S = 10.0


class _NotLoopback(OSError):
    """An address that a signed request must not reach in the clear."""

    def __init__(self) -> None:
        # One text for all addresses of a name, or the library merges them into a plain OSError.
        super().__init__(errno.EACCES, "plain http goes to loopback addresses only")


class _Mark:
    """When the headers of one request began to be written, and when the body was; 0 before.

    From the first on bytes may have left; they surely do at the second, for the library holds the
    headers back until then. Before either it waits until the call may leave.
    """

    __slots__ = ("_leave", "at", "left_at")

    def __init__(self, leave: Leave | None = None) -> None:
        self.at = self.left_at = 0.0
        self._leave = leave

    async def may_leave(self) -> None:
        if self._leave is not None:
            await self._leave()


class _Proxy(NamedTuple):
    """The way to https hosts; no `url` is the straight one."""

    url: str | None
    headers: Mapping[str, str] | None  # what the proxy alone is told


class Transport:
    """Connections to every host of a run. An async context manager.

    `connections` bounds how many are open at once, 0 is no bound: the engine's slots are the bound,
    and a wait for the pool would come between a token and its send.
    """

    def __init__(self, *, body_max_bytes: int = BODY_MAX_BYTES, connections: int = 0) -> None:
        self._body_max_bytes = body_max_bytes
        self._connections = connections
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._proxies: dict[str, _Proxy] = {}

    async def __aenter__(self) -> Self:
        pool: dict[str, Any] = {"limit": self._connections, "keepalive_timeout": KEEPALIVE_S}
        self._sessions = {
            "https": _session(aiohttp.TCPConnector(**pool)),
            "http": _session(aiohttp.TCPConnector(**pool, socket_factory=_loopback_socket)),
        }
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    async def send(
        self,
        request: SignedRequest,
        timeout_s: float,
        leave: Leave | None = None,
    ) -> Reply | Fault:
        """POST once; `timeout_s` bounds everything from connecting to the last byte. `leave` is
        waited for when the connection is there, directly before bytes are written."""
        session = self._sessions[request.url.partition(":")[0]]
        proxy = self._proxy(request.url)
        loop = asyncio.get_running_loop()
        mark, began = _Mark(leave), loop.time()
        try:
            async with session.post(
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=_within(timeout_s),
                allow_redirects=False,
                proxy=proxy.url,
                proxy_headers=proxy.headers,
                trace_request_ctx=mark,
            ) as response:
                body = await _body(response, self._body_max_bytes)
                if body is None:
                    fault = FaultKind.TOO_LARGE, f"the body has more than {self._body_max_bytes} B"
                else:
                    latency_ms = (loop.time() - (mark.left_at or mark.at)) * 1000
                    lag_s = _visible_after(response)
                    return Reply(response.status, body, _date(response), latency_ms, lag_s)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            fault = _kind(error), str(error) or type(error).__name__
        latency_ms = (loop.time() - (mark.left_at or mark.at or began)) * 1000
        return Fault(fault[0], mark.at > 0, fault[1], latency_ms)

    async def warm(self, url: str, connections: int) -> None:
        """Open connections and park them, so that the first starts wait for none. No request is
        sent. Best effort: what fails here fails again, and is told, when it is used."""
        session = self._sessions[url.partition(":")[0]]
        connector = session.connector
        if connector is None or self._proxy(url).url is not None:
            return
        loop = asyncio.get_running_loop()
        opened: list[Any] = []

        async def connect() -> None:
            request = aiohttp.ClientRequest("POST", URL(url), loop=loop)
            async with asyncio.timeout(CONNECT_WITHIN_S):
                opened.append(await connector.connect(request, [], _within(CONNECT_WITHIN_S)))

        try:
            # All are held until all are open, else the next would be given the one before.
            await asyncio.gather(*(connect() for _ in range(connections)), return_exceptions=True)
        finally:
            for connection in opened:
                connection.release()

    def _proxy(self, url: str) -> _Proxy:
        proxy = self._proxies.get(url)
        if proxy is None:
            proxy = self._proxies[url] = _proxy_of(url)
        return proxy


async def get_unsigned(url: str, timeout_s: float) -> tuple[int, bytes] | None:
    """(status, body) of a GET without any key, or None. For the metadata service, which is
    link-local and plain http by nature."""
    async with _session(aiohttp.TCPConnector()) as session:
        try:
            async with session.get(
                url, timeout=_within(timeout_s), allow_redirects=False, trace_request_ctx=_Mark()
            ) as response:
                body = await _body(response, _METADATA_MAX_BYTES)
                return None if body is None else (response.status, body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The whole body, or None where it has more than `most` bytes."""
    if (response.content_length or 0) > most:
        response.close()
        return None
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            response.close()
            return None
    return b"".join(parts)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    trace = TraceConfig()
    trace.on_request_headers_sent.append(_headers_sent)
    trace.on_request_chunk_sent.append(_chunk_sent)
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        raise_for_status=False,
        headers={"User-Agent": f"batchsnap/{__version__}", "Accept-Encoding": "identity"},
        max_line_size=HEADER_MAX_BYTES,
        max_field_size=HEADER_MAX_BYTES,
        trace_configs=[trace],
    )


async def _headers_sent(_session: object, context: Any, _params: object) -> None:
    """Called directly before the headers are put together."""
    mark: _Mark = context.trace_request_ctx
    await mark.may_leave()
    mark.at = asyncio.get_running_loop().time()


async def _chunk_sent(_session: object, context: Any, _params: object) -> None:
    """Called directly before the body is written."""
    mark: _Mark = context.trace_request_ctx
    await mark.may_leave()
    loop = asyncio.get_running_loop()
    mark.left_at = loop.time()
    loop.call_soon(failpoint, "bytes_sent")


def _loopback_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that a signed request may reach in the clear."""
    family, kind, protocol, _, target = address
    if not is_loopback(target[0]):
        raise _NotLoopback
    return socket.socket(family, kind, protocol)


def _within(seconds: float) -> ClientTimeout:
    connect = min(seconds, CONNECT_WITHIN_S)
    return ClientTimeout(total=seconds, sock_connect=connect)


def _kind(error: Exception) -> FaultKind:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FaultKind.DNS
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _NotLoopback):
        return FaultKind.REFUSED
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return FaultKind.TLS
    if isinstance(error, TimeoutError):
        return FaultKind.TIMEOUT
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError):
        return FaultKind.CONNECT
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError | ValueError):
        return FaultKind.GARBLED
    return FaultKind.RESET


def _date(response: aiohttp.ClientResponse) -> float | None:
    try:
        date = parsedate_to_datetime(response.headers["Date"])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (LookupError, ValueError, TypeError, OverflowError):
        return None


def _visible_after(response: aiohttp.ClientResponse) -> float | None:
    """What a simulator declares of itself; None where it is none, or says nothing of use."""
    name, _, seconds = response.headers.get(SIMULATOR_HEADER, "").partition("=")
    try:
        declared_s = float(seconds) if name.strip() == "visible-after" else -1.0
    except ValueError:
        return None
    return declared_s if 0 <= declared_s < inf else None


def _proxy_of(url: str) -> _Proxy:
    """The environment's proxy for an https URL (HTTPS_PROXY, ALL_PROXY, NO_PROXY)."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if parts.scheme != "https" or not proxy or proxy_bypass(parts.netloc):
        return _Proxy(None, None)
    way = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    headers = None
    if way.username is not None:
        user = f"{unquote(way.username)}:{unquote(way.password or '')}".encode()
        headers = {"Proxy-Authorization": f"Basic {b64encode(user).decode()}"}
    return _Proxy(f"{way.scheme}://{way.netloc.rpartition('@')[2]}", headers)
