"""Pacing by arithmetic: ours beside other limiters, on virtual time, over jitter and two servers.

The server counts arrivals, rejected ones too, in a sliding or a fixed second of 20. A call's way
there takes 60 ms plus a normal deviate of the jitter (its standard deviation), the way back 60 ms.
A throttled call is sent again through the same limiter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiolimiter import AsyncLimiter

from batchsnap.pacing import law
from batchsnap.pacing.gate import LocalGate
from tests.virtual import VirtualClock, VirtualLoop, run_virtual

RATE = 20
ONE_WAY_S = 0.06
JITTERS_MS = (0, 1, 5, 20, 80)
OUT_AT_ONCE = 60


@dataclass
class Server:
    """Counts arrivals in a second and says whether one is too many."""

    fixed: bool
    seen: deque[float] = field(default_factory=deque)

    def refuses(self, now: float) -> bool:
        if self.fixed:
            while self.seen and math.floor(self.seen[0]) < math.floor(now):
                self.seen.popleft()
        else:
            while self.seen and now - self.seen[0] >= 1.0:
                self.seen.popleft()
        self.seen.append(now)
        return len(self.seen) > RATE


class Pacer:
    """A limiter: wait for a start, hear how it went."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop

    async def start(self, way_s: float) -> int:
        raise NotImplementedError

    def replied(self, token: int, *, throttled: bool) -> None:
        """Most limiters learn nothing."""


class Bucket(Pacer):
    """aiolimiter alone."""

    def __init__(self, loop: VirtualLoop, rate: float, period: float) -> None:
        super().__init__(loop)
        self.limiter = AsyncLimiter(rate, period)

    async def start(self, way_s: float) -> int:
        await self.limiter.acquire()
        return 0


class Aimd(Bucket):
    """The pace goes up by a little each second and is halved by a throttled call."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop, 1, 1 / RATE)
        self.pace, self.due = float(RATE), 0.0

    async def start(self, way_s: float) -> int:
        now = self.loop.time()
        self.due = max(now, self.due + 1 / self.pace)
        await asyncio.sleep(self.due - now)
        return 0

    def replied(self, token: int, *, throttled: bool) -> None:
        self.pace = max(1.0, self.pace / 2) if throttled else min(RATE, self.pace + 0.5 / self.pace)


class Ours(Pacer):
    """The gate of batchsnap."""

    def __init__(self, loop: VirtualLoop, *, strict: bool) -> None:
        super().__init__(loop)
        self.gate = LocalGate(float(RATE), clock=VirtualClock(loop), strict=strict)

    async def start(self, way_s: float) -> int:
        return await self.gate.start()

    def replied(self, token: int, *, throttled: bool) -> None:
        self.gate.replied(token, throttled=throttled)


class Oracle(Pacer):
    """Knows each delay beforehand, and so every arrival: the best that could be done."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self.arrivals: list[float] = []
        self.turn = asyncio.Lock()

    async def start(self, way_s: float) -> int:
        async with self.turn:
            while True:
                arrival = self.loop.time() + way_s
                near = sorted([*(t for t in self.arrivals if abs(t - arrival) < 1.1), arrival])
                if law.worst_window(near) <= RATE:
                    self.arrivals = [t for t in self.arrivals if t > arrival - 3] + [arrival]
                    return 0
                await asyncio.sleep(0.0005)


CONTENDERS: dict[str, Callable[[VirtualLoop], Pacer]] = {
    "batchsnap": lambda loop: Ours(loop, strict=False),
    "batchsnap --strict": lambda loop: Ours(loop, strict=True),
    "AsyncLimiter(20, 1)": lambda loop: Bucket(loop, 20, 1),
    "AsyncLimiter(1, 0.05)": lambda loop: Bucket(loop, 1, 0.05),
    "fixed 18/s": lambda loop: Bucket(loop, 1, 1 / 18),
    "AIMD": Aimd,
    "oracle": Oracle,
}


def simulate(name: str, jitter_s: float, calls: int, *, fixed: bool) -> dict[str, float]:
    """Goodput and throttled share in percent, and the most starts in any second."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    rng = random.Random(1)
    server = Server(fixed)
    starts: list[float] = []
    throttled = 0

    async def call(pacer: Pacer) -> None:
        nonlocal throttled
        while True:
            way_s = max(0.0, rng.gauss(ONE_WAY_S, jitter_s))
            token = await pacer.start(way_s)
            starts.append(loop.time())
            await asyncio.sleep(way_s)
            refused = server.refuses(loop.time())
            await asyncio.sleep(ONE_WAY_S)
            pacer.replied(token, throttled=refused)
            throttled += refused
            if not refused:
                return

    async def main() -> float:
        pacer = CONTENDERS[name](loop)
        slots = asyncio.Semaphore(OUT_AT_ONCE)

        async def one() -> None:
            async with slots:
                await call(pacer)

        tasks: list[Awaitable[None]] = [one() for _ in range(calls)]
        await asyncio.gather(*tasks)
        return starts[-1] - starts[0]

    elapsed = run_virtual(main(), loop)
    asyncio.set_event_loop(None)
    return {
        "goodput_pct": round((calls - 1) / (elapsed * RATE) * 100, 2),
        "throttled_pct": round(throttled / len(starts) * 100, 2),
        "worst_second": law.worst_window(starts),
    }


def main(small: bool = False) -> dict[str, Any]:
    """Every contender over every jitter and both servers."""
    calls = 300 if small else 10_000
    jitters = (0, 20) if small else JITTERS_MS
    result: dict[str, Any] = {"calls": calls, "rows": []}
    for fixed in (False, True):
        for name in CONTENDERS:
            for jitter_ms in jitters:
                figures = simulate(name, jitter_ms / 1000, calls, fixed=fixed)
                server = "fixed" if fixed else "sliding"
                result["rows"].append(
                    {"server": server, "pacer": name, "jitter_ms": jitter_ms, **figures}
                )
    return result


def table(result: dict[str, Any]) -> str:
    """Goodput % / throttled % (worst second) for each jitter."""
    jitters = sorted({row["jitter_ms"] for row in result["rows"]})
    lines = ["server   pacer                  " + "".join(f"{j:>4} ms{'':12}" for j in jitters)]
    for server in ("sliding", "fixed"):
        for name in CONTENDERS:
            rows = [r for r in result["rows"] if (r["server"], r["pacer"]) == (server, name)]
            cells = "".join(
                f"{r['goodput_pct']:>5.1f} /{r['throttled_pct']:>6.2f} ({r['worst_second']:>2})  "
                for r in rows
            )
            lines.append(f"{server:<8} {name:<22} {cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    figures = main(parser.parse_args().small)
    print(table(figures))
    print(json.dumps(figures))
