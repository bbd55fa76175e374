"""The floors of `ceiling`: the same bytes with next to nothing around them."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from batchsnap.cloud.wire import Wires


class _Exchange(asyncio.Protocol):
    """The least that a reply costs: read up to its Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, data: bytes) -> asyncio.Future[bytes]:
        self.got, self.reply = b"", asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.reply

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, _, body = self.got.partition(b"\r\n\r\n")
        length = head.rpartition(b"Content-Length: ")[2].partition(b"\r\n")[0]
        if body and len(body) == int(length):
            self.reply.set_result(body)


async def protocol(url: str, messages: list[bytes], connections: int) -> None:
    """A bare asyncio protocol: what the event loop and the sockets cost."""
    parts, loop, left = urlsplit(url), asyncio.get_running_loop(), iter(messages)

    async def worker() -> None:
        _, exchange = await loop.create_connection(_Exchange, parts.hostname, parts.port)
        for data in left:
            await exchange.ask(data)
        exchange.transport.close()

    await asyncio.gather(*(worker() for _ in range(connections)))


async def wires(url: str, messages: list[bytes], connections: int) -> None:
    """aiohttp's connector and parser, as our transport uses them."""
    left, pool = iter(messages), Wires()

    async def worker() -> None:
        for data in left:
            wire = await pool.open(url, 10.0)
            wire.write(data)
            await wire.read(1 << 20)
            wire.release()

    await asyncio.gather(*(worker() for _ in range(connections)))
    await pool.close()
