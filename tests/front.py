"""A small proxy before the simulator: the first create call of a disk meets one mishap."""

from __future__ import annotations

import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.process import Cloud, disk

STREAM_BYTES = 1 << 30  # what the endless ones would send
LINGER_0 = struct.pack("ii", 1, 0)
SLOW_S = 5.0  # of the drip, which `--timeout` must cut


class Socket:
    """One connection to the proxy."""

    def __init__(self, client: socket.socket, front: Front) -> None:
        self.client = client
        self.front = front
        self.request = b""

    def forward(self) -> bytes:
        """Let the simulator act; its whole reply."""
        with socket.create_connection(self.front.behind) as server:
            server.sendall(self.request)
            return message(server.makefile("rb"))

    def reset(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)

    def stream(self, start: bytes, block: bytes) -> None:
        """Send `block` for ever, or until the client has had enough."""
        self.client.sendall(start)
        sent = 0
        with suppress(OSError):
            while sent < STREAM_BYTES:
                self.client.sendall(block)
                sent += len(block)
        self.front.streamed[start] = sent


Mishap = Callable[[Socket], None]


def reset_before(at: Socket) -> None:
    at.reset()


def reset_after(at: Socket) -> None:
    at.forward()
    at.reset()


def closed_after(at: Socket) -> None:
    at.forward()


def half_a_body(at: Socket) -> None:
    at.client.sendall(at.forward()[:-20])


def html_502(at: Socket) -> None:
    at.client.sendall(http(b"502 Bad Gateway", b"<html>bad gateway</html>"))


def html_502_after(at: Socket) -> None:
    at.forward()
    html_502(at)


def garbage_200(at: Socket) -> None:
    at.forward()
    at.client.sendall(http(b"200 OK", b"\x00\xff\xfegarbage"))


def null_id(at: Socket) -> None:
    at.forward()
    body = b'{"Response":{"SnapshotId":null,"RequestId":"r"}}'
    at.client.sendall(http(b"200 OK", body))


def no_http(at: Socket) -> None:
    at.client.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def huge_body(at: Socket) -> None:
    at.forward()
    at.stream(b"HTTP/1.1 200 OK\r\nX: huge\r\n\r\n", b" " * (1 << 16))


def header_flood(at: Socket) -> None:
    at.forward()
    at.stream(b"HTTP/1.1 200 OK\r\n", b"X-Flood: " + b"f" * 1000 + b"\r\n")


def redirect(at: Socket) -> None:
    place = b"Location: http://127.0.0.1:%d/\r\n" % at.front.elsewhere
    at.client.sendall(http(b"307 Temporary Redirect", b"", place))


def hang(at: Socket) -> None:
    at.forward()
    at.client.recv(1)  # until the client gives up


def slow_drip(at: Socket) -> None:
    reply = at.forward()
    for i in range(len(reply)):
        at.client.sendall(reply[i : i + 1])
        if at.front.over.wait(SLOW_S / len(reply)):
            return


# What becomes of the first call for the n-th disk, and the code that the ledger then tells.
MISHAPS: dict[Mishap, str] = {
    reset_before: "fault.reset",
    reset_after: "fault.reset",
    closed_after: "fault.reset",
    half_a_body: "fault.garbled",
    html_502: "http.502",
    html_502_after: "http.502",
    garbage_200: "reply.not_json",
    null_id: "reply.no_snapshot_id",
    no_http: "fault.garbled",
    huge_body: "fault.too_large",
    header_flood: "fault.garbled",
    redirect: "http.307",
    hang: "fault.timeout",
    slow_drip: "fault.timeout",
}


@dataclass
class Front:
    """A proxy before a simulator."""

    behind: tuple[str, int]
    elsewhere: int = 0  # the port to which it redirects
    mishaps: dict[str, Mishap] = field(default_factory=dict)  # by disk, each once
    tls: ssl.SSLContext | None = None
    url: str = ""
    streamed: dict[bytes, int] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def serve(self, client: socket.socket) -> None:
        if self.tls is not None:
            client = self.tls.wrap_socket(client, server_side=True)
        at, stream = Socket(client, self), client.makefile("rb")
        while request := message(stream):
            at.request = request
            self.heads.append(request.partition(b"\r\n\r\n")[0])
            name = request.partition(b'"DiskId":"')[2][: len(disk(0))].decode()
            mishap = self.mishaps.pop(name, None)
            if mishap is not None:
                mishap(at)
                break
            client.sendall(at.forward())
        with suppress(OSError):  # a shut line, not only one name less for it
            client.shutdown(socket.SHUT_WR)
        stream.close()
        client.close()


def message(stream: Any) -> bytes:
    """One HTTP message with a Content-Length; empty where the line was closed."""
    head, length = b"", 0
    for line in stream:
        head += line
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        if line == b"\r\n":
            return head + stream.read(length)
    return b""


def http(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    headers += b"X-Batchsnap-Simulator: visible-after=0\r\n"
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on a free port, a thread a connection; the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def fronted(cloud: Cloud, **options: Any) -> Iterator[Front]:
    host, _, port = cloud.url.partition("//")[2].rpartition(":")
    front = Front((host, int(port)), **options)
    with listening(front.serve) as own:
        front.url = f"http{'s' * (front.tls is not None)}://127.0.0.1:{own}"
        try:
            yield front
        finally:
            front.over.set()
