"""A server that costs next to nothing: a valid, unique answer to every POST, as a process."""

from __future__ import annotations

import asyncio
import itertools
import sys

_numbers = itertools.count()
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Cheap(asyncio.Protocol):
    """Answers as soon as a request's body is there; knows no HTTP beyond Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(_END)) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(_LENGTH)
            length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            whole = end + len(_END) + length
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            number = next(_numbers)
            ids = (number, number)
            body = b'{"Response":{"SnapshotId":"snap-%08x","RequestId":"r-%032x"}}' % ids
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )


async def main() -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Cheap, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
