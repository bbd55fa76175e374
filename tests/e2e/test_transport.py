"""The transport against raw sockets: every way to fail, and whether the request may have left."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from batchsnap.cloud.transport import Transport, get_unsigned
from batchsnap.model import Fault, FaultKind, Reply, SignedRequest
from tests.raw import OK, Seen, hang, plain, request, saying, server

pytestmark = pytest.mark.anyio

PATIENT_S = 20.0
SHORT_S = 0.2


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def outcome(url: str, timeout_s: float = PATIENT_S, **options: int) -> Reply | Fault:
    async with Transport(**options) as transport:
        return await transport.send(request(url), timeout_s)


def is_fault(got: Reply | Fault, kind: FaultKind, *, sent: bool) -> bool:
    assert isinstance(got, Fault), got
    assert "secret" not in got.message
    return (got.kind, got.sent) == (kind, sent)


async def test_a_reply_and_what_was_sent() -> None:
    async with server(saying(OK)) as seen:
        got = await outcome(seen.url)
    assert isinstance(got, Reply)
    assert (got.status, got.body, got.date) == (200, b"{}", 1_767_225_600.0)
    assert got.latency_ms > 0
    assert seen.bodies == [b'{"DiskId":"disk-1"}']
    lines = seen.heads[0].decode().split("\r\n")
    names = [line.partition(":")[0].lower() for line in lines[1:] if line]
    assert lines[0] == "POST / HTTP/1.1"
    assert len(names) == len(set(names))
    assert "Content-Type: application/json" in lines
    assert f"Host: {seen.url[7:]}" in lines
    assert "Accept-Encoding: identity" in lines
    assert "cookie" not in names


async def test_refused() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        assert is_fault(await outcome(url), FaultKind.CONNECT, sent=False)


async def test_no_such_name() -> None:
    assert is_fault(await outcome("https://nobody.invalid"), FaultKind.DNS, sent=False)


async def test_no_tls_behind_the_port() -> None:
    async with server(plain) as seen:
        got = await outcome(seen.url.replace("http:", "https:"))
    assert is_fault(got, FaultKind.TLS, sent=False)


async def test_time_is_up_while_connecting() -> None:
    async def mute(_: Seen, __: asyncio.StreamReader, ___: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with server(mute) as seen:  # the TLS handshake never ends
        got = await outcome(seen.url.replace("http:", "https:"), SHORT_S)
    assert is_fault(got, FaultKind.TIMEOUT, sent=False)


async def test_time_is_up_while_waiting_for_the_pool() -> None:
    async with server(hang) as seen, Transport(connections=1) as transport:
        first = asyncio.create_task(transport.send(request(seen.url), PATIENT_S))
        while not seen.bodies:
            await asyncio.sleep(0)
        second = await transport.send(request(seen.url), SHORT_S)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert is_fault(second, FaultKind.TIMEOUT, sent=False)
    assert len(seen.bodies) == 1


async def test_time_is_up_after_sending() -> None:
    async with server(hang) as seen:
        got = await outcome(seen.url, SHORT_S)
    assert is_fault(got, FaultKind.TIMEOUT, sent=True)


async def test_reset_before_the_reply() -> None:
    async with server(saying(b"")) as seen:
        got = await outcome(seen.url)
    assert is_fault(got, FaultKind.RESET, sent=True)
    assert len(seen.bodies) == 1


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", id="half a body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", id="half a chunk"
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", id="long header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200_000 + b"\r\n", id="header flood"),
    ],
)
async def test_garbled(reply: bytes) -> None:
    async with server(saying(reply)) as seen:
        got = await outcome(seen.url)
    assert is_fault(got, FaultKind.GARBLED, sent=True)
    assert len(seen.bodies) == 1


async def test_headers_without_end() -> None:
    async def flood(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await seen.read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Flood: " + b"f" * 1000 + b"\r\n")
            await writer.drain()

    async with server(flood) as seen:
        got = await outcome(seen.url)
    assert is_fault(got, FaultKind.GARBLED, sent=True)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 1000000\r\n\r\n", id="announced"),
        pytest.param(b"\r\n", id="until close"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\nF4240\r\n", id="chunked"),
    ],
)
async def test_a_huge_body(head: bytes) -> None:
    reply = b"HTTP/1.1 200 OK\r\n" + head + b"x" * 1_000_000 + b"\r\n0\r\n\r\n"
    async with server(saying(reply)) as seen:
        got = await outcome(seen.url, body_max_bytes=1000)
    assert is_fault(got, FaultKind.TOO_LARGE, sent=True)


async def test_a_body_at_the_bound() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    async with server(saying(reply)) as seen:
        got = await outcome(seen.url, body_max_bytes=1000)
    assert isinstance(got, Reply)
    assert len(got.body) == 1000


async def test_a_status_is_a_reply() -> None:
    page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\nDate: soon\r\n\r\n<html>"
    async with server(saying(page)) as seen:
        got = await outcome(seen.url)
    assert isinstance(got, Reply)
    assert (got.status, got.body, got.date) == (502, b"<html>", None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with server(saying(OK)) as other:
        move = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/\r\nContent-Length: 0\r\n\r\n"
        async with server(saying(move.encode())) as seen:
            got = await outcome(seen.url)
    assert isinstance(got, Reply)
    assert got.status == status
    assert other.connections == 0


@pytest.mark.parametrize(
    ("header", "declared"),
    [
        ("visible-after=0", 0.0),
        ("visible-after=2.5", 2.5),
        (" visible-after = 2 ", 2.0),
        ("visible-after=", None),
        ("visible-after=-1", None),
        ("visible-after=inf", None),
        ("visible-after=nan", None),
        ("visible-after=soon", None),
        ("2.5", None),
        ("", None),
    ],
)
async def test_a_simulator_declares_its_delay(header: str, declared: float | None) -> None:
    reply = OK.replace(b"Date:", f"X-Batchsnap-Simulator: {header}\r\nDate:".encode())
    async with server(saying(reply)) as seen, server(saying(OK)) as other:
        got, silent = await outcome(seen.url), await outcome(other.url)
    assert isinstance(got, Reply)
    assert isinstance(silent, Reply)
    assert (got.visible_after_s, silent.visible_after_s) == (declared, None)


async def test_no_cookie_is_kept() -> None:
    reply = OK.replace(b"Date:", b"Set-Cookie: a=b\r\nDate:")
    async with server(saying(reply, keep=True)) as seen, Transport() as transport:
        for _ in range(2):
            await transport.send(request(seen.url), PATIENT_S)
    assert not any(b"cookie" in head.lower() for head in seen.heads)


async def test_a_stale_connection_is_never_sent_on_twice() -> None:
    """The server reads the second request on a kept connection and hangs up: it may have acted."""

    async def answer(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await seen.read(reader)
        if len(seen.bodies) == 1:
            writer.write(OK)
            await writer.drain()
            await seen.read(reader)

    async with server(answer) as seen, Transport() as transport:
        first = await transport.send(request(seen.url, b"1"), PATIENT_S)
        second = await transport.send(request(seen.url, b"2"), PATIENT_S)
    assert isinstance(first, Reply)
    assert is_fault(second, FaultKind.RESET, sent=True)
    assert seen.bodies == [b"1", b"2"]
    assert seen.connections == 1


async def test_warm_opens_connections_that_are_used() -> None:
    async with server(saying(OK, keep=True)) as seen, Transport() as transport:
        await transport.warm(seen.url, 3)
        while seen.connections < 3:
            await asyncio.sleep(0)
        assert seen.heads == []
        for _ in range(3):
            assert isinstance(await transport.send(request(seen.url), PATIENT_S), Reply)
        assert seen.connections == 3


@pytest.mark.parametrize(
    "url", ["https://nobody.invalid", "http://192.0.2.1", "http://127.0.0.1:1"]
)
async def test_warm_raises_nothing(url: str) -> None:
    async with Transport() as transport:
        await transport.warm(url, 2)


@pytest.mark.parametrize("url", ["http://192.0.2.1", "http://[2001:db8::1]:8000", "http://0.0.0.0"])
async def test_plain_http_leaves_no_machine(url: str) -> None:
    assert is_fault(await outcome(url), FaultKind.REFUSED, sent=False)


async def test_a_name_is_judged_when_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing arrives at a host that a name leads to and that is not loopback."""
    loop = asyncio.get_running_loop()

    async def elsewhere(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert host == "simulator.example"
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", elsewhere)
    async with server(saying(OK)) as seen:
        url = seen.url.replace("127.0.0.1", "simulator.example")
        addresses = ["192.0.2.1", "192.0.2.2"]
        assert is_fault(await outcome(url), FaultKind.REFUSED, sent=False)
        addresses = ["127.0.0.1"]
        assert isinstance(await outcome(url), Reply)


async def test_what_answered_once_may_answer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def shut(_: Seen, __: asyncio.StreamReader, ___: asyncio.StreamWriter) -> None:
        """Hangs up at once."""

    monkeypatch.setattr("batchsnap.cloud.transport._kind", lambda _: FaultKind.CERTIFICATE)
    got: list[bool] = []
    async with server(saying(OK)) as well, server(shut) as other, Transport() as transport:
        assert isinstance(await transport.send(request(well.url), PATIENT_S), Reply)
        for url in (well.url, other.url):
            fault = await transport.send(request(url), 1e-9)
            assert isinstance(fault, Fault)
            got.append(fault.lasting)
    assert got == [False, True]


async def test_loopback_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(saying(OK)) as proxy, server(saying(OK)) as seen:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert isinstance(await outcome(seen.url), Reply)
    assert proxy.connections == 0


async def test_https_goes_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with server(saying(denied)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//someone:secret%21@"))
        got = await outcome("https://cbs.example")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with server(plain) as straight:
            around = await outcome(straight.url.replace("http:", "https:"))
    assert is_fault(got, FaultKind.PROXY_AUTH, sent=False)
    assert isinstance(got, Fault)
    assert got.lasting
    assert proxy.heads[0].startswith(b"CONNECT cbs.example:443 ")
    assert b"Proxy-Authorization: Basic c29tZW9uZTpzZWNyZXQh" in proxy.heads[0]
    assert b"TC3-HMAC" not in proxy.heads[0]
    assert is_fault(around, FaultKind.TLS, sent=False)


async def test_a_netrc_file_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with server(saying(OK)) as seen, server(plain) as tls:
        assert isinstance(await outcome(seen.url), Reply)
        got = await outcome(tls.url.replace("http:", "https:"))
    assert is_fault(got, FaultKind.TLS, sent=False)
    assert b"Authorization: TC3-HMAC-SHA256" in seen.heads[0]


async def test_a_header_that_no_header_may_hold_is_no_exception() -> None:
    async with server(hang) as seen, Transport() as transport:
        bad = SignedRequest(seen.url, (("Host", "h"), ("X-TC-Region", "a\r\nb: c")), b"{}")
        got = await transport.send(bad, PATIENT_S)
    assert isinstance(got, Fault)
    assert seen.bodies == []


async def test_get_unsigned_reads_all_of_a_body_in_parts() -> None:
    async def answer(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await seen.read(reader)
        for part in (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", b"cd"):
            writer.write(part)
            await writer.drain()
            for _ in range(20):  # turns of the loop, in which the client reads the first part
                await asyncio.sleep(0)

    async with server(answer) as seen:
        assert await get_unsigned(seen.url, PATIENT_S) == (200, b"abcd")


async def test_get_unsigned() -> None:
    async with server(saying(OK)) as seen:
        assert await get_unsigned(f"{seen.url}/latest/", PATIENT_S) == (200, b"{}")
    assert seen.heads[0].startswith(b"GET /latest/ ")
    assert await get_unsigned(seen.url, PATIENT_S) is None
    assert await get_unsigned("http://nobody.invalid/", PATIENT_S) is None
