"""The only client use of aiohttp: sends a signed request once and tells what came back.

Nothing remote raises. `Fault.sent` is False only where surely no byte of the request left, which
is known from the moment the library begins to write the headers. A redirect is never followed, a
cookie never kept, a body read only up to a bound. aiohttp sends a POST again by itself in no case.
"""

from __future__ import annotations

import asyncio
import socket
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import ClientTimeout, TraceConfig
from yarl import URL

from batchsnap import __version__
from batchsnap.failpoints import failpoint
from batchsnap.model import Fault, FaultKind, Reply, SignedRequest

BODY_MAX_BYTES = 8 << 20
HEADER_MAX_BYTES = 16 << 10
KEEPALIVE_S = 15.0
_METADATA_MAX_BYTES = 64 << 10
CONNECT_WITHIN_S = 10.0
_NOT_LOOPBACK = "plain http goes to loopback addresses only"


class _Mark:
    """When the headers of one request began to be written; 0 before."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = 0.0


class Transport:
    """Connections to every host of a run. An async context manager."""

    def __init__(self, *, body_max_bytes: int = BODY_MAX_BYTES) -> None:
        self._body_max_bytes = body_max_bytes
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        self._sessions = {
            "https": _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S), True),
            "http": _session(
                aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=KEEPALIVE_S, socket_factory=_loopback_socket
                ),
                False,
            ),
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

    async def send(self, request: SignedRequest, timeout_s: float) -> Reply | Fault:
        """POST once; `timeout_s` bounds everything from connecting to the last byte."""
        session = self._sessions[request.url.partition(":")[0]]
        loop = asyncio.get_running_loop()
        mark, began = _Mark(), loop.time()
        try:
            async with session.post(
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=_within(timeout_s),
                allow_redirects=False,
                trace_request_ctx=mark,
            ) as response:
                body = await self._body(response)
                if body is None:
                    fault = FaultKind.TOO_LARGE, f"the body has more than {self._body_max_bytes} B"
                else:
                    latency_ms = (loop.time() - mark.at) * 1000
                    return Reply(response.status, body, _date(response), latency_ms)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            fault = _kind(error), str(error) or type(error).__name__
        latency_ms = (loop.time() - (mark.at or began)) * 1000
        return Fault(fault[0], mark.at > 0, fault[1], latency_ms)

    async def warm(self, url: str, connections: int) -> None:
        """Open connections and park them, so that the first starts wait for none. No request is
        sent. Best effort: what fails here fails again, and is told, when it is used."""
        session = self._sessions[url.partition(":")[0]]
        connector = session.connector
        if connector is None or (url.startswith("https") and _proxied(url)):
            return
        loop = asyncio.get_running_loop()

        async def connect() -> Any:
            request = aiohttp.ClientRequest("POST", URL(url), loop=loop)
            return await connector.connect(request, [], _within(CONNECT_WITHIN_S))

        opened = await asyncio.gather(
            *(connect() for _ in range(connections)), return_exceptions=True
        )
        for connection in opened:
            if not isinstance(connection, BaseException):
                connection.release()

    async def _body(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The whole body, or None where it is larger than the bound."""
        if (response.content_length or 0) > self._body_max_bytes:
            response.close()
            return None
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._body_max_bytes:
                response.close()
                return None
        return b"".join(parts)


async def get_unsigned(url: str, timeout_s: float) -> tuple[int, bytes] | None:
    """(status, body) of a GET without any key, or None. For the metadata service, which is
    link-local and plain http by nature."""
    async with _session(aiohttp.TCPConnector(), False) as session:
        try:
            async with session.get(
                url, timeout=_within(timeout_s), allow_redirects=False, trace_request_ctx=_Mark()
            ) as response:
                return response.status, await response.content.read(_METADATA_MAX_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None


def _session(connector: aiohttp.TCPConnector, trust_env: bool) -> aiohttp.ClientSession:
    trace = TraceConfig()
    trace.on_request_headers_sent.append(_headers_sent)
    trace.on_request_chunk_sent.append(_chunk_sent)
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=trust_env,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        raise_for_status=False,
        headers={"User-Agent": f"batchsnap/{__version__}"},
        skip_auto_headers={"Accept-Encoding"},
        max_line_size=HEADER_MAX_BYTES,
        max_field_size=HEADER_MAX_BYTES,
        trace_configs=[trace],
    )


async def _headers_sent(_session: object, context: Any, _params: object) -> None:
    context.trace_request_ctx.at = asyncio.get_running_loop().time()


async def _chunk_sent(_session: object, _context: object, _params: object) -> None:
    failpoint("bytes_sent")


def _loopback_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that a signed request may reach in the clear."""
    family, kind, protocol, _, target = address
    if not ip_address(target[0]).is_loopback:
        raise OSError(f"{_NOT_LOOPBACK}, and this is {target[0]}")
    return socket.socket(family, kind, protocol)


def _within(seconds: float) -> ClientTimeout:
    connect = min(seconds, CONNECT_WITHIN_S)
    return ClientTimeout(total=seconds, sock_connect=connect)


def _kind(error: Exception) -> FaultKind:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FaultKind.DNS
    if _NOT_LOOPBACK in str(error):
        return FaultKind.REFUSED
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return FaultKind.TLS
    if isinstance(error, TimeoutError):
        return FaultKind.TIMEOUT
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientProxyConnectionError):
        return FaultKind.CONNECT
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError | ValueError):
        return FaultKind.GARBLED
    return FaultKind.RESET


def _date(response: aiohttp.ClientResponse) -> float | None:
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None


def _proxied(url: str) -> bool:
    try:
        return bool(aiohttp.helpers.get_env_proxy_for_url(URL(url)))
    except LookupError:
        return False
