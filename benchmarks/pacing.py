"""Pacing by arithmetic: ours beside other limiters, on virtual time, over jitter and two servers.

The server counts arrivals, rejected ones too, in a sliding or a fixed second of 20. Each way takes
60 ms plus a normal deviate; the jitter is the standard deviation of one way. A throttled call is
sent again through the same limiter. Waits end up to a millisecond late, as epoll's do. The
figures are long runs and include the learning from the smallest margin on.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from typing import Any

from aiolimiter import AsyncLimiter

from batchsnap.model import Quota
from batchsnap.pacing import law
from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import QuotaFile
from benchmarks.common import alone
from tests.virtual import VirtualClock, VirtualLoop, run_virtual
from tests.windows import worst_window

RATE = 20
ONE_WAY_S = 0.06
JITTERS_MS = (0, 1, 5, 20, 80)
OUT_AT_ONCE = 60
LATE_S = 0.001


@dataclass
class Server:
    """Counts arrivals in a second and says whether one is too many.

    A call says when it will arrive; it is judged once that moment has passed, in order.
    """

    fixed: bool
    coming: list[tuple[float, int]] = field(default_factory=list)
    seen: deque[float] = field(default_factory=deque)
    refused: set[int] = field(default_factory=set)
    number: count[int] = field(default_factory=count)

    def expect(self, at: float) -> int:
        call = next(self.number)
        heapq.heappush(self.coming, (at, call))
        return call

    def refuses(self, call: int, now: float) -> bool:
        while self.coming and self.coming[0][0] <= now:
            at, arrived = heapq.heappop(self.coming)
            edge = float(int(at)) if self.fixed else at - 1.0
            while self.seen and (self.seen[0] < edge if self.fixed else self.seen[0] <= edge):
                self.seen.popleft()
            self.seen.append(at)
            if len(self.seen) > RATE:
                self.refused.add(arrived)
        return call in self.refused


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


class Aimd(Pacer):
    """The pace goes up by a half each second and is halved by a throttled call."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
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
    """Knows each delay beforehand; as lawful as ours: in order, and 20 starts in any second."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self.starts: deque[float] = deque(maxlen=RATE)
        self.arrivals: list[float] = []
        self.turn = asyncio.Lock()

    async def start(self, way_s: float) -> int:
        async with self.turn:
            now = self.loop.time()
            lawful = self.starts[0] + 1.0 if len(self.starts) == RATE else now
            spaced = self.starts[-1] + 1 / RATE if self.starts else now
            at = self._room(max(now, lawful, spaced) + way_s)
            await asyncio.sleep(at - way_s - now)
            arrival = self.loop.time() + way_s
            self.starts.append(self.loop.time())
            self.arrivals = sorted([t for t in self.arrivals if t > now - 2] + [arrival])
            return 0

    def _room(self, at: float) -> float:
        """The first moment from `at` on that makes no second hold one arrival too many."""
        slack = 2 * LATE_S
        while True:
            merged = sorted([*self.arrivals, at])
            place = merged.index(at)
            for first in range(max(0, place - RATE), min(place + 1, len(merged) - RATE)):
                if merged[first + RATE] - merged[first] < 1.0 + slack:
                    at = (
                        merged[first] + 1.0 + 2 * slack
                        if first < place
                        else merged[place + 1] + 1e-6
                    )
                    break
            else:
                return at


CONTENDERS: dict[str, Callable[[VirtualLoop], Pacer]] = {
    "batchsnap": lambda loop: Ours(loop, strict=False),
    "batchsnap --strict": lambda loop: Ours(loop, strict=True),
    "AsyncLimiter(20, 1)": lambda loop: Bucket(loop, 20, 1),
    "AsyncLimiter(1, 0.05)": lambda loop: Bucket(loop, 1, 0.05),
    "fixed 18/s": lambda loop: Bucket(loop, 1, 1 / 18),
    "AIMD": Aimd,
    "oracle": Oracle,
}


SHORT_RUNS = {"batchsnap": math.inf, "batchsnap, known": 0.0, "batchsnap, nightly": 24 * 3600.0}
"""How long ago another run learned a margin."""


def simulate(
    name: str, jitter_s: float, calls: int, *, fixed: bool, seed: int = 1, known_s: float = 0.0
) -> dict[str, float]:
    """Goodput and throttled share in percent, the most starts in any second, and the margin at the
    end; `known_s`: the margin to begin with, where the quota file remembers one."""
    loop = VirtualLoop(late_s=LATE_S)
    rng = random.Random(seed)
    server = Server(fixed)
    starts: list[float] = []
    left = iter(range(calls))

    async def work(pacer: Pacer) -> None:
        for _ in left:
            refused = True
            while refused:
                way_s, back_s = (max(0.001, rng.gauss(ONE_WAY_S, jitter_s)) for _ in range(2))
                token = await pacer.start(way_s)
                starts.append(loop.time())
                call = server.expect(loop.time() + way_s)
                await asyncio.sleep(way_s + back_s)
                refused = server.refuses(call, loop.time())
                pacer.replied(token, throttled=refused)

    async def main() -> float:
        pacer = CONTENDERS[name](loop)
        if isinstance(pacer, Ours) and known_s:
            pacer.gate.margin_s = known_s
        await asyncio.gather(*(work(pacer) for _ in range(OUT_AT_ONCE)))
        return pacer.gate.margin_s if isinstance(pacer, Ours) else 0.0

    learned_s = run_virtual(main(), loop)
    return {
        "margin_s": learned_s,
        "goodput_pct": round((calls - 1) / ((starts[-1] - starts[0]) * RATE) * 100, 2),
        "throttled_pct": round(len(server.refused) / len(starts) * 100, 2),
        "worst_second": worst_window(starts),
    }


def overhead_us(starts: int) -> dict[str, float]:
    """CPU a start takes where the rate is no bound, on virtual time."""

    def cost(pacer_of: Callable[[VirtualLoop], Any]) -> float:
        loop = VirtualLoop(late_s=LATE_S)

        async def main() -> float:
            start = pacer_of(loop)
            await start()
            began = time.process_time()
            for _ in range(starts):
                await start()
            return time.process_time() - began

        return round(run_virtual(main(), loop) / starts * 1e6, 1)

    with tempfile.TemporaryDirectory() as folder:
        file = QuotaFile(Path(folder), Quota("bench", "localhost", "CreateSnapshot"))
        result = {
            "AsyncLimiter(16000, 1)": cost(lambda _: AsyncLimiter(16_000, 1).acquire),
            "batchsnap": cost(lambda loop: LocalGate(16_000.0, clock=VirtualClock(loop)).start),
            "batchsnap, quota file": cost(
                lambda loop: LocalGate(16_000.0, clock=VirtualClock(loop), file=file).start
            ),
        }
        file.close()
    return result


def main(small: bool = False) -> dict[str, Any]:
    """Every contender over every jitter and both servers, and ours on short runs."""
    calls = 300 if small else 20_000
    jitters = (0, 20) if small else JITTERS_MS
    result: dict[str, Any] = {"rows": [], "overhead_us": overhead_us(2_000 if small else 40_000)}
    for server in ("sliding", "fixed"):
        for name in CONTENDERS:
            for jitter_ms in jitters:
                figures = simulate(name, jitter_ms / 1000, calls, fixed=server == "fixed")
                key = {"server": server, "pacer": name, "calls": calls, "jitter_ms": jitter_ms}
                result["rows"].append({**key, **figures})
    # What a run of twenty seconds sees: mostly learning, or what an earlier one has learned.
    for jitter_ms, (pacer, age_s) in product(jitters, SHORT_RUNS.items()):
        jitter_s = jitter_ms / 1000
        earlier = simulate("batchsnap", jitter_s, calls // 4, fixed=False, seed=99)
        known_s = law.remembered(earlier["margin_s"], age_s) if age_s < math.inf else 0.0
        runs = [
            simulate("batchsnap", jitter_s, 400, fixed=False, seed=seed, known_s=known_s)
            for seed in range(2 if small else 20)
        ]
        mean = {name: round(sum(run[name] for run in runs) / len(runs), 2) for name in runs[0]}
        mean["worst_second"] = max(run["worst_second"] for run in runs)
        key = {"server": "sliding", "pacer": pacer, "calls": 400, "jitter_ms": jitter_ms}
        result["rows"].append({**key, **mean})
    return result


def shown(result: dict[str, Any]) -> str:
    """Goodput % / throttled % (worst second) for each jitter."""
    lines: dict[tuple[str, str, int], str] = {}
    jitters = sorted({row["jitter_ms"] for row in result["rows"]})
    for row in result["rows"]:
        key = row["server"], row["pacer"], row["calls"]
        cell = "{goodput_pct:>5.1f} /{throttled_pct:>6.2f} ({worst_second:>2})  ".format(**row)
        lines[key] = lines.get(key, "") + cell
    head = f"{'server':<8}{'pacer':<23}{'calls':>6}  " + "".join(
        f"{j:>4} ms{'':12}" for j in jitters
    )
    body = [f"{key[0]:<8}{key[1]:<23}{key[2]:>6}  {cells}" for key, cells in lines.items()]
    costs = ", ".join(f"{name} {cost}" for name, cost in result["overhead_us"].items())
    return "\n".join([head, *body, f"CPU a start at 16,000/s, µs: {costs}"])


if __name__ == "__main__":
    alone(main, __doc__)
