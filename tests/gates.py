"""What tests of gates share."""

from __future__ import annotations

from batchsnap.client.ports import Gate
from batchsnap.model import Quota
from tests.virtual import VirtualLoop

QUOTA = Quota("env", "cbs.example.com", "CreateSnapshot")


async def starts_of(gate: Gate, number: int, loop: VirtualLoop) -> list[float]:
    """Times of so many starts, each answered at once."""
    found = []
    for _ in range(number):
        token = await gate.start()
        found.append(loop.time())
        gate.replied(token, throttled=False)
    return found
