"""The whole engine without a cap, against a bare aiohttp loop that posts the same signed bytes.

Ours plans, writes a durable ledger, signs, paces, parses and folds; the bare loop posts what was
signed beforehand, over as many connections, and so do the floors. Each runs in a process of its
own, in turn, against a server that costs next to nothing. `no gate` is the engine uncapped; the
gate, even at 16,000/s, lets at most one start go every 62 µs and so keeps calls from being sent in
bunches. What is imported is loaded before the timer starts, of every loop alike.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import floors
from benchmarks.common import CREDENTIAL, ROOT, alone, busy_s, medians, server
from benchmarks.contenders import sdk, signed
from tests.process import write_fleet

OUT_AT_ONCE = 64
THREADS = 32
YARDSTICK = "bare aiohttp"


class Keys:
    """One made-up key for every profile."""

    async def get(self, profile: str) -> Any:
        return CREDENTIAL

    def invalidate(self, profile: str) -> None:
        """Nothing to fetch anew."""


class OpenGates:
    """Every start is lawful at once."""

    rate_per_s = float("inf")

    def __init__(self, *_: object) -> None:
        self._numbers = count()

    def of(self, _quota: object) -> OpenGates:
        return self

    async def start(self) -> int:
        return next(self._numbers)

    def leave(self, token: int) -> bool:
        return True

    def left(self, token: int) -> None:
        """No window to keep."""

    def replied(self, token: int, *, throttled: bool) -> None:
        """Nothing to learn."""

    def close(self) -> None:
        """Nothing to let go of."""


async def _bare(url: str, calls: int) -> None:
    import aiohttp

    jobs = iter([signed(url, number) for number in range(calls)])
    _timer.start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for job in jobs:
                async with session.post(job.url, data=job.body, headers=job.headers) as reply:
                    await reply.read()

        await asyncio.gather(*(worker() for _ in range(OUT_AT_ONCE)))


async def _floor(
    url: str, calls: int, *, of: Callable[[str, list[bytes], int], Awaitable[None]]
) -> None:
    from batchsnap.cloud.wire import message

    jobs = [signed(url, number) for number in range(calls)]
    messages = [message("POST", "/", job.headers, job.body) for job in jobs]
    _timer.start()
    await of(url, messages, OUT_AT_ONCE)


async def _send(url: str, calls: int) -> None:
    """Signed, sent by our transport and parsed; no engine, no ledger."""
    from batchsnap.cloud import faults
    from batchsnap.cloud.transport import Transport

    numbers = iter(range(calls))
    async with Transport() as transport:

        async def worker() -> None:
            for number in numbers:
                outcome = await transport.send(signed(url, number), 30.0)
                assert faults.rule(outcome, doubted=False).snapshot_id

        _timer.start()
        await asyncio.gather(*(worker() for _ in range(OUT_AT_ONCE)))


async def _ours(url: str, calls: int, *, gate: bool) -> None:
    import anyio

    import batchsnap
    from batchsnap.cli.main import ease_collector
    from batchsnap.client import connections
    from batchsnap.settings import API_LIMIT_MAX_PER_S

    run = batchsnap.run  # loads all it needs: of no loop are imports counted
    await anyio.sleep(0)  # loads anyio's half for this loop
    ease_collector()
    if not gate:
        connections.LocalGates = OpenGates  # type: ignore[misc, assignment]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        fleet = write_fleet(Path(folder), calls)
        _timer.start(allowed_s=1.0 if gate else 0.0)  # in which a process may not start
        result = await run(
            fleet,
            ledger=fleet.with_suffix(".jsonl"),
            endpoint=url,
            credentials=Keys(),
            rate_per_s=float(API_LIMIT_MAX_PER_S),
            api_limit_per_s=API_LIMIT_MAX_PER_S,
            max_in_flight=OUT_AT_ONCE,
        )
        _timer.stop()
    assert result.exit is batchsnap.Exit.DONE, result


class _Timer:
    """Wall and CPU seconds between its start and its stop."""

    def start(self, allowed_s: float = 0.0) -> None:
        self.ended: tuple[float, float] | None = None
        wall_s, cpu_s = self._now()
        self.began = wall_s + allowed_s, cpu_s

    def stop(self) -> None:
        self.ended = self.ended or self._now()

    def figures(self, calls: int) -> dict[str, float]:
        """Per call."""
        self.stop()
        assert self.ended is not None
        wall_s, cpu_s = (end - begin for end, begin in zip(self.ended, self.began, strict=True))
        return {"requests_per_s": calls / wall_s, "cpu_us": cpu_s / calls * 1e6}

    def _now(self) -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), used.ru_utime + used.ru_stime


_timer = _Timer()


def _async(work: Callable[..., Any], *, uvloop: bool = False, **options: Any) -> Callable[..., Any]:
    def run(url: str, calls: int) -> None:
        factory = __import__("uvloop").new_event_loop if uvloop else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(work(url, calls, **options))

    return run


def _sdk(url: str, calls: int) -> None:
    import tencentcloud.cbs.v20170312.cbs_client  # noqa: F401

    _timer.start()
    sdk(url, calls, threads=THREADS)


LOOPS: dict[str, tuple[str, Callable[[str, int], None]]] = {
    "floor: asyncio protocol": ("aiohttp", _async(_floor, of=floors.protocol)),
    "floor: connector + parser": ("aiohttp", _async(_floor, of=floors.wires)),
    YARDSTICK: ("aiohttp", _async(_bare)),
    "sign, send, parse": ("aiohttp", _async(_send)),
    "batchsnap, no gate": ("aiohttp", _async(_ours, gate=False)),
    "batchsnap at 16,000/s": ("aiohttp", _async(_ours, gate=True)),
    f"SDK, {THREADS} threads": ("tencentcloud", _sdk),
    "bare aiohttp, uvloop": ("uvloop", _async(_bare, uvloop=True)),
    "batchsnap, no gate, uvloop": ("uvloop", _async(_ours, gate=False, uvloop=True)),
}
"""By name: the package it needs, and the loop."""


def _child(name: str, url: str, calls: int) -> None:
    LOOPS[name][1](url, calls)
    print(json.dumps(_timer.figures(calls)))


def _measured(name: str, calls: int) -> dict[str, float]:
    with server("cheap_server") as (url, pid):
        before_s = busy_s(pid)
        command = [sys.executable, "-m", "benchmarks.ceiling", "--child", name, url, str(calls)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (name, done.stderr)
        figures: dict[str, float] = json.loads(done.stdout)
        served_s = (busy_s(pid) - before_s) / calls
    return {**figures, "server_core_pct": served_s * figures["requests_per_s"] * 100}


def main(small: bool = False) -> dict[str, Any]:
    """Medians of rounds in which every loop has its turn: requests a second, the ratio to the bare
    loop, CPU a request, and how busy the server was (near 100 it would be what is measured)."""
    calls, rounds = (300, 1) if small else (6000, 5)
    names = [name for name, (package, _) in LOOPS.items() if find_spec(package)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(_measured(name, calls))
    middle = {name: medians(each) for name, each in found.items()}
    bare = middle[YARDSTICK]
    return {
        "calls": calls,
        "rows": [
            {
                "loop": name,
                "requests_per_s": round(figures["requests_per_s"]),
                "ratio": round(figures["requests_per_s"] / bare["requests_per_s"], 2),
                "cpu_us": round(figures["cpu_us"]),
                "cpu_ratio": round(bare["cpu_us"] / figures["cpu_us"], 2),
                "server_core_pct": round(figures["server_core_pct"]),
            }
            for name, figures in middle.items()
        ],
        "skipped": {n: f"needs `{package}`" for n, (package, _) in LOOPS.items() if n not in names},
    }


def profile(calls: int = 6000, lines: int = 10) -> None:
    """Print where the engine's time goes, the most first."""
    with server("cheap_server") as (url, _), cProfile.Profile() as profiler:
        _async(partial(_ours, gate=False))(url, calls)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    elif sys.argv[1:] == ["--profile"]:
        profile()
    else:
        alone(main, __doc__)
