"""Raw servers that answer a request with whatever bytes, and what they saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from batchsnap.model import SignedRequest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n{}"

Answer = Callable[["Seen", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Seen:
    """What a raw server saw."""

    def __init__(self) -> None:
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def read(self, reader: asyncio.StreamReader) -> bool:
        """One whole request; False where the client hung up instead."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ),
            0,
        )
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(length))
        return True


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[Seen]:
    seen = Seen()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(seen, reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield seen
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(data: bytes, *, keep: bool = False) -> Answer:
    """A server that answers each request with these bytes."""

    async def answer(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await seen.read(reader):
            writer.write(data)
            await writer.drain()
            if not keep:
                return

    return answer


async def plain(_: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a TLS greeting in the clear."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def hang(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await seen.read(reader)
    await asyncio.Event().wait()


def request(url: str, body: bytes = b'{"DiskId":"disk-1"}') -> SignedRequest:
    host = url.partition("//")[2]
    headers = (
        ("Host", host),
        ("Content-Type", "application/json"),
        ("Authorization", "TC3-HMAC-SHA256 secret"),
    )
    return SignedRequest(url, headers, body)
