"""A server that costs next to nothing: a valid, unique answer to every POST, as a process.

With `--asked` it answers about snapshots instead: every one that is asked about is there, NORMAL,
on the disk of its own number, and every deletion is carried out.
"""

from __future__ import annotations

import asyncio
import itertools
import json
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
            request, self.buffer = self.buffer[whole - length : whole], self.buffer[whole:]
            body = self.answer(head, request)
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )

    def answer(self, head: bytes, request: bytes) -> bytes:
        """The body of the reply."""
        number = next(_numbers)
        return b'{"Response":{"SnapshotId":"snap-%08x","RequestId":"r-%032x"}}' % (number, number)


class Asked(Cheap):
    """Knows every snapshot, and deletes it."""

    def answer(self, head: bytes, request: bytes) -> bytes:
        if b"describesnapshots" not in head:
            return b'{"Response":{"RequestId":"r"}}'
        ids = json.loads(request)["SnapshotIds"]
        shown = [
            {"SnapshotId": i, "DiskId": f"disk-{i[5:]}", "SnapshotState": "NORMAL", "Percent": 100}
            for i in ids
        ]
        found = {"TotalCount": len(ids), "SnapshotSet": shown, "RequestId": "r"}
        return json.dumps({"Response": found}).encode()


async def main(kind: type[Cheap]) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(kind, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Asked if sys.argv[1:] == ["--asked"] else Cheap))
