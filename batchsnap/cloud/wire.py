"""One exchange over one connection of aiohttp's: our own bytes out, the reply through its C parser.

What aiohttp does not document is used here and nowhere else: `ClientRequest` as the question to a
connector, and of a connection's `protocol` its `_parser`, `should_close`, `set_response_params` and
`read`. tests/e2e/test_wire.py holds what they must do, with the oldest and the newest version that
pyproject.toml allows.
"""

from __future__ import annotations

import asyncio
import select
import socket
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakSet

import anyio
from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from batchsnap.cloud.proxies import STRAIGHT, Proxy
from batchsnap.version import TOOL

HEADER_MAX_BYTES = 16 << 10
_CLOSE_WITHIN_S = 1.0
_INTERIM_MAX = 20  # 100 Continue, 103 Early Hints: none was asked for
_SWITCHING = 101
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS
_OWN_HEADERS = f"Accept: */*\r\nAccept-Encoding: identity\r\nUser-Agent: {TOOL}"


class TooLarge(ValueError):
    """The body has more bytes than were allowed."""


class Unasked(OSError):
    """A new connection that is closed, or speaks before it is spoken to."""


class Answer(NamedTuple):
    """A whole reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def message(
    method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes = b""
) -> bytes:
    """The bytes of a request: these headers as they are, then what every request of ours says.

    Raises:
        ValueError: a header holds what would end it.
    """
    lines = [f"{method} {path} HTTP/1.1", *[f"{name}: {value}" for name, value in headers]]
    lines.append(f"{_OWN_HEADERS}\r\nContent-Length: {len(body)}\r\n\r\n")
    head = "\r\n".join(lines)
    ends = len(headers) + 6
    if head.count("\n") != ends or head.count("\r") != ends or "\0" in head:
        raise ValueError("a header holds a line break")
    return head.encode() + body


class Wires:
    """A pool of connections: those that are free are used again, the oldest first."""

    def __init__(
        self,
        connections: int = 0,
        keepalive_s: float = 15.0,
        socket_factory: Callable[[Any], socket.socket] | None = None,
    ) -> None:
        self._connector = TCPConnector(
            limit=connections, keepalive_timeout=keepalive_s, socket_factory=socket_factory
        )
        self._loop = asyncio.get_running_loop()
        self._straight: dict[str, ClientRequest] = {}
        self._used: WeakSet[ResponseHandler] = WeakSet()  # that were in the pool before

    async def open(self, url: str, within_s: float, proxy: Proxy = STRAIGHT) -> Wire:
        """A connection to a URL's host, free or new; connecting takes `within_s` at most.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError
        """
        question = self._question(url, proxy)
        connection = await self._connector.connect(question, [], _within(within_s))
        return Wire(connection, self._used)

    async def close(self) -> None:
        """Close all connections, also where the caller is being cancelled: what is left open would
        be told by the interpreter at its end."""
        with anyio.move_on_after(_CLOSE_WITHIN_S, shield=True):
            await self._connector.close()
            await asyncio.sleep(0)  # the sockets are closed in the loop's next turn

    def _question(self, url: str, proxy: Proxy) -> ClientRequest:
        if proxy.url is not None:  # connecting changes it: one for each call
            way, headers = URL(proxy.url), proxy.headers and dict(proxy.headers)
            return ClientRequest(
                "POST", URL(url), loop=self._loop, proxy=way, proxy_headers=headers
            )
        question = self._straight.get(url)
        if question is None:
            question = self._straight[url] = ClientRequest("POST", URL(url), loop=self._loop)
        return question


class Wire:
    """A connection for one exchange: `write`, `read`, then `release`; `close` where that fails."""

    __slots__ = ("_connection", "_protocol", "_used", "fresh")

    def __init__(self, connection: Connection, used: WeakSet[ResponseHandler]) -> None:
        protocol = connection.protocol
        assert protocol is not None
        self._connection = connection
        self._protocol = protocol
        self._used = used
        self.fresh = protocol not in used

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing has come that nobody asked for: such a reply is not the
        next request's. While no request is out there is no parser, so that aiohttp keeps what
        comes as a tail, and closes such a connection sooner or later; `poll` sees what aiohttp has
        not read yet. A new TLS connection may have tickets waiting there."""
        protocol = self._protocol
        transport = protocol.transport
        if transport is None or transport.is_closing() or protocol.should_close:
            return False
        if self.fresh and transport.get_extra_info("sslcontext") is not None:
            return True
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def write(self, data: bytes) -> None:
        """Send a whole request; its bytes are with the kernel on return."""
        protocol = self._protocol
        transport = protocol.transport
        assert transport is not None
        protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,  # not within a bound in every version
            max_line_size=HEADER_MAX_BYTES,
            max_field_size=HEADER_MAX_BYTES,
        )
        transport.write(data)

    async def read(self, most: int) -> Answer:
        """The reply to what was written.

        Raises:
            TooLarge: its body has more than `most` bytes, packed or not.
            aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, ValueError
        """
        for _ in range(_INTERIM_MAX):
            head, payload = await self._protocol.read()
            if head.code >= 200 or head.code == _SWITCHING:
                break
        else:
            raise ValueError("one interim reply after the other")
        headers: Mapping[str, str] = head.headers
        if int(headers.get("Content-Length") or 0) > most:
            raise TooLarge
        parts: list[bytes] = []
        size = 0
        while not payload.at_eof():  # asking for more than there is costs as much as the rest
            parts.append(part := await payload.readany())
            size += len(part)
            if size > most:
                raise TooLarge
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if "Content-Encoding" in headers:
            body = _unpacked(body, headers["Content-Encoding"].strip().lower(), most)
        return Answer(head.code, headers, body)

    def release(self) -> None:
        """The exchange is over: back to the pool, or closed where nothing may follow."""
        self._protocol._parser = None
        if self.fresh:
            self._used.add(self._protocol)
        self._connection.release()

    def close(self) -> None:
        """Close it, whatever is under way."""
        self._connection.close()


@lru_cache(maxsize=16)
def _within(seconds: float) -> ClientTimeout:
    return ClientTimeout(total=seconds, sock_connect=seconds)


def _unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """A body that some proxy packed, though none was asked to. Other encodings are left alone."""
    if encoding not in {"gzip", "x-gzip", "deflate"} or not body:
        return body
    # deflate is meant to be zlib's format, and some send it bare.
    bare = encoding == "deflate" and body[0] & 0x0F != zlib.DEFLATED
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS if bare else _ZLIB_OR_GZIP)
    try:
        whole = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise ValueError(f"the body is no {encoding}") from error
    if len(whole) > most:
        raise TooLarge
    if not unpacker.eof:
        raise ValueError(f"the {encoding} body is cut short")
    return whole
