"""Our bytes on aiohttp's connections: run with the oldest and the newest version allowed."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from batchsnap.cloud.transport import Transport
from batchsnap.cloud.wire import message
from batchsnap.model import Fault, FaultKind, Reply
from tests.raw import OK, Answer, Seen, hang, request, saying, server

pytestmark = pytest.mark.anyio

PATIENT_S = 20.0
HEAD = b"HTTP/1.1 200 OK\r\n"
_SECOND = b'{"of":"nobody"}'
STALE = HEAD + b"Content-Length: %d\r\n\r\n" % len(_SECOND) + _SECOND


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with Transport(body_max_bytes=100_000) as opened:
        yield opened


async def some_turns() -> None:
    """Long enough for bytes on loopback to be read."""
    for _ in range(200):
        await asyncio.sleep(0)


def body_of(got: Reply | Fault) -> bytes:
    assert isinstance(got, Reply), got
    return got.body


def is_fault(got: Reply | Fault, kind: FaultKind, *, sent: bool) -> bool:
    assert isinstance(got, Fault), got
    return (got.kind, got.sent) == (kind, sent)


def each(*answers: bytes) -> Answer:
    """The n-th request, whatever its connection, gets the n-th answer; all are kept open."""

    async def answer(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await seen.read(reader):
            writer.write(answers[len(seen.bodies) - 1])
            await writer.drain()

    return answer


# -- replies of every shape ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "body", "kept"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\n{}", b"{}", True),
        (HEAD + b"Content-Length: 0\r\n\r\n", b"", True),
        (HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
            b"{}",
            True,
        ),
        (
            HEAD + b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n",
            b"{}",
            True,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + OK, b"{}", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
            b"{}",
            True,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    ],
    ids=[
        *("length", "empty", "close", "chunked", "trailers", "continue", "hints"),
        *("1.0", "1.0 kept", "204"),
    ],
)
async def test_a_whole_reply(transport: Transport, reply: bytes, body: bytes, kept: bool) -> None:
    async with server(each(reply, OK)) as seen:
        first = await transport.send(request(seen.url), PATIENT_S)
        second = await transport.send(request(seen.url), PATIENT_S)
        assert body_of(first) == body
        assert body_of(second) == b"{}"
        assert seen.connections == (1 if kept else 2)


async def test_a_body_that_the_close_ends(transport: Transport) -> None:
    async with server(saying(HEAD + b"\r\n{}")) as seen:
        assert body_of(await transport.send(request(seen.url), PATIENT_S)) == b"{}"


async def test_a_reply_byte_by_byte(transport: Transport) -> None:
    async def drip(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await seen.read(reader):
            for byte in OK:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

    async with server(drip) as seen:
        for _ in range(2):
            assert body_of(await transport.send(request(seen.url), PATIENT_S)) == b"{}"
        assert seen.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nnumber\r\n{",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"A: " + b"a" * 100_000 + b"\r\n\r\n",
        HEAD + b"A" * 100_000 + b": a\r\n\r\n",
        HEAD + b"A: b\r\n" * 200_000 + b"\r\n",
        b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + OK,
        b"ICY 200 OK\r\n\r\n",
    ],
    ids=[
        *("half a body", "half a chunk", "no chunk", "two lengths", "long value", "long name"),
        *("many headers", "long reason", "hints without end", "no HTTP"),
    ],
)
async def test_no_whole_reply(transport: Transport, reply: bytes) -> None:
    async with server(saying(reply)) as seen:
        got = await transport.send(request(seen.url), PATIENT_S)
        assert is_fault(got, FaultKind.GARBLED, sent=True)
        assert len(seen.bodies) == 1


async def test_a_body_that_is_cut_short_is_not_kept(transport: Transport) -> None:
    """The collector of cycles comes only after thousands of such replies."""
    body, times = b"x" * 50_000, 20

    async def cut(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await seen.read(reader)
        writer.write(HEAD + b"Content-Length: 90000\r\n\r\n" + body)
        await writer.drain()

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        async with server(cut) as seen:
            for _ in range(times):
                got = await transport.send(request(seen.url), PATIENT_S)
                assert is_fault(got, FaultKind.GARBLED, sent=True)
            held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert held < times * len(body) / 2


async def test_a_switch_of_protocols_is_a_reply_and_the_end(transport: Transport) -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with server(each(switch, OK)) as seen:
        first = await transport.send(request(seen.url), PATIENT_S)
        second = await transport.send(request(seen.url), PATIENT_S)
        assert isinstance(first, Reply)
        assert first.status == 101
        assert body_of(second) == b"{}"
        assert seen.connections == 2


# -- packed replies --------------------------------------------------------------------------------


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def packed(encoding: str, body: bytes) -> bytes:
    return (
        HEAD
        + f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("Deflate", bare)]
)
async def test_a_packed_reply_is_read(
    transport: Transport, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    async with server(saying(packed(encoding, pack(b'{"Response":{}}')))) as seen:
        got = await transport.send(request(seen.url), PATIENT_S)
        assert body_of(got) == b'{"Response":{}}'
    assert b"Accept-Encoding: identity" in seen.heads[0]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (gzip.compress(b"x" * 100_001), FaultKind.TOO_LARGE),
        (gzip.compress(b"x" * 50_000_000), FaultKind.TOO_LARGE),
        (gzip.compress(b"x" * 1000)[:-9], FaultKind.GARBLED),
        (b"{}", FaultKind.GARBLED),
    ],
    ids=["above the bound", "bomb", "cut short", "not packed"],
)
async def test_what_does_not_unpack(transport: Transport, body: bytes, kind: FaultKind) -> None:
    async with server(saying(packed("gzip", body))) as seen:
        got = await transport.send(request(seen.url), PATIENT_S)
        assert is_fault(got, kind, sent=True)


async def test_a_packed_body_at_the_bound(transport: Transport) -> None:
    async with server(saying(packed("gzip", gzip.compress(b"x" * 100_000)))) as seen:
        assert len(body_of(await transport.send(request(seen.url), PATIENT_S))) == 100_000


# -- what was there before it was asked for --------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "late"),
    [
        pytest.param(STALE, False, id="with the first"),
        pytest.param(STALE[:-3], False, id="half a body with the first"),
        pytest.param(STALE, True, id="later"),
        pytest.param(STALE[:-3], True, id="half a body later"),
        pytest.param(STALE[:9], True, id="half a head later"),
        pytest.param(b"x", True, id="garbage later"),
        pytest.param(b"HTTP/1.1 408 Request Timeout\r\n\r\n", True, id="408 later"),
    ],
)
async def test_a_reply_that_was_there_before_its_request_is_none(
    transport: Transport, more: bytes, late: bool
) -> None:
    async def answer(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await seen.read(reader):
            first = len(seen.bodies) == 1
            writer.write(OK if late or not first else OK + more)
            await writer.drain()
            if late and first:
                await some_turns()  # the connection is in the pool again
                writer.write(more)
                await writer.drain()

    async with server(answer) as seen:
        assert body_of(await transport.send(request(seen.url, b"1"), PATIENT_S)) == b"{}"
        await some_turns()
        await some_turns()
        assert body_of(await transport.send(request(seen.url, b"2"), PATIENT_S)) == b"{}"
        assert seen.bodies == [b"1", b"2"]
        assert seen.connections == 2


class Blocking:
    """A start during whose leave the server's bytes come, unread by our loop."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    async def leave(self) -> None:
        self._act()

    def left(self) -> None:
        """Nobody asks."""


@pytest.mark.parametrize("hangs_up", [False, True], ids=["a reply", "a hang-up"])
async def test_what_the_kernel_holds_is_seen_before_the_write(
    transport: Transport, hangs_up: bool
) -> None:
    """The loop has no turn between the server's bytes and our write."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        first = asyncio.create_task(transport.send(request(url, b"1"), PATIENT_S))
        old, _ = await loop.sock_accept(listening)
        old.setblocking(False)
        await _read_one(old)
        await loop.sock_sendall(old, OK)
        assert body_of(await first) == b"{}"

        def act() -> None:
            nonlocal acted
            if not acted:
                acted = True
                if hangs_up:
                    old.close()
                else:
                    old.send(STALE)

        acted = False
        second = asyncio.create_task(transport.send(request(url, b"2"), PATIENT_S, Blocking(act)))
        new, _ = await loop.sock_accept(listening)
        new.setblocking(False)
        assert (await _read_one(new)).endswith(b"2")
        await loop.sock_sendall(new, OK)
        assert body_of(await second) == b"{}"
        if not hangs_up:
            with suppress(ConnectionResetError):  # closed with the reply unread
                assert await loop.sock_recv(old, 1000) == b""
        old.close()
        new.close()


async def _read_one(client: socket.socket) -> bytes:
    data, loop = b"", asyncio.get_running_loop()
    while b"\r\n\r\n" not in data or data.endswith(b"\r\n\r\n"):
        data += await loop.sock_recv(client, 1 << 16)
    return data


async def test_a_host_that_speaks_first_gets_nothing(transport: Transport) -> None:
    async def greet(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STALE)
        await writer.drain()
        await seen.read(reader)

    class Later(Blocking):
        async def leave(self) -> None:
            await some_turns()

    async with server(greet) as seen:
        got = await transport.send(request(seen.url), PATIENT_S, Later(lambda: None))
        assert is_fault(got, FaultKind.RESET, sent=False)
        assert (seen.connections, seen.heads) == (1, [])


# -- connections and their end ---------------------------------------------------------------------


async def test_a_peer_that_closed_while_nobody_asked(transport: Transport) -> None:
    async def answer(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await seen.read(reader)
        writer.write(OK)
        await writer.drain()

    async with server(answer) as seen:
        for _ in range(3):
            assert body_of(await transport.send(request(seen.url), PATIENT_S)) == b"{}"
        assert seen.connections == 3


async def test_a_call_that_is_cancelled_leaves_no_connection_behind(transport: Transport) -> None:
    async def answer(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await seen.read(reader):
            if len(seen.bodies) > 1:
                writer.write(OK)
                await writer.drain()

    async with server(answer) as seen:
        call = asyncio.create_task(transport.send(request(seen.url, b"1"), PATIENT_S))
        while not seen.bodies:
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        assert body_of(await transport.send(request(seen.url, b"2"), PATIENT_S)) == b"{}"
        assert seen.connections == 2


async def test_a_call_that_is_cancelled_before_it_left_sends_nothing(transport: Transport) -> None:
    waiting = asyncio.Event()

    class Waits(Blocking):
        async def leave(self) -> None:
            waiting.set()
            await asyncio.Event().wait()

    async with server(saying(OK)) as seen:
        start = Waits(lambda: None)
        call = asyncio.create_task(transport.send(request(seen.url, b"1"), PATIENT_S, start))
        await waiting.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert body_of(await transport.send(request(seen.url, b"2"), PATIENT_S)) == b"{}"
        assert seen.bodies == [b"2"]


async def test_a_late_reply_is_nobody_elses(transport: Transport) -> None:
    """What answers a call that timed out can't be taken for the next one's."""
    let_go = asyncio.Event()

    async def answer(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await seen.read(reader)
        if len(seen.bodies) == 1:
            await let_go.wait()
            writer.write(STALE)
        else:
            writer.write(OK)
        await writer.drain()

    async with server(answer) as seen:
        first = await transport.send(request(seen.url), 0.1)
        let_go.set()
        assert is_fault(first, FaultKind.TIMEOUT, sent=True)
        assert body_of(await transport.send(request(seen.url), PATIENT_S)) == b"{}"


async def test_a_reset_while_the_reply_is_awaited(transport: Transport) -> None:
    async def reset(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await seen.read(reader)
        writer.transport.abort()

    async with server(reset) as seen:
        got = await transport.send(request(seen.url), PATIENT_S)
        assert is_fault(got, FaultKind.RESET, sent=True)


async def test_one_bound_for_all(transport: Transport) -> None:
    async with server(hang) as seen:
        got = await transport.send(request(seen.url), 0.1)
        assert is_fault(got, FaultKind.TIMEOUT, sent=True)


# -- our own bytes ---------------------------------------------------------------------------------


async def test_the_bytes_that_were_signed_are_the_bytes_sent(transport: Transport) -> None:
    made = request("http://127.0.0.1", b'{"a":"\xc3\xa4"}')
    async with server(saying(OK)) as seen:
        made = request(seen.url, made.body)
        await transport.send(made, PATIENT_S)
    lines = seen.heads[0].decode().split("\r\n")
    assert lines[0] == "POST / HTTP/1.1"
    assert lines[1 : 1 + len(made.headers)] == [f"{name}: {value}" for name, value in made.headers]
    assert seen.bodies == [made.body]


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nB: c", "a\rB: c", "a\0", "a\r\n\r\nGET /"])
def test_no_header_ends_early(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        message("POST", "/", (("Host", "h"), ("X-TC-Token", value)), b"{}")
    with pytest.raises(ValueError, match="line break"):
        message("POST", "/", (("Host", "h"), (value, "x")), b"{}")
