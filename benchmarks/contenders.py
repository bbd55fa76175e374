"""Scripts that people write instead: the SDK in threads, and three limiters over aiohttp.

A child process: `python -m benchmarks.contenders NAME URL ROWS`. The SDK's scripts leave a refused
row failed, as its default does (but for its own StandardRetryer); the limiters' scripts send a
throttled row again through the limiter.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.util import find_spec
from threading import local
from typing import Any

from batchsnap.cloud import actions, tc3
from batchsnap.cloud.endpoints import host_of
from batchsnap.model import SignedRequest
from benchmarks.common import CAP_PER_S, CREDENTIAL
from tests.ledgers import request
from tests.process import SECRET_ID, SECRET_KEY

REGION = "ap-guangzhou"
_OUT_AT_ONCE = 100
Call = Callable[[int], Awaitable[bool]]  # whether row N was throttled


def signed(url: str, number: int) -> SignedRequest:
    """Row N's request, signed now."""
    return tc3.sign(
        url=url,
        host=host_of(url),
        action="CreateSnapshot",
        version=actions.VERSION,
        region=REGION,
        body=actions.create_snapshot(request(number)),
        timestamp=int(time.time()),
        credential=CREDENTIAL,
    )


def sdk_client(url: str, *, retry: bool) -> Any:
    """The official SDK's client of the cloud at this address."""
    from tencentcloud.cbs.v20170312 import cbs_client
    from tencentcloud.common import credential
    from tencentcloud.common import retry as retrying
    from tencentcloud.common.profile.client_profile import ClientProfile
    from tencentcloud.common.profile.http_profile import HttpProfile

    http = HttpProfile(protocol="http", endpoint=url.removeprefix("http://"))
    retryer = retrying.StandardRetryer(max_attempts=3) if retry else None
    return cbs_client.CbsClient(
        credential.Credential(SECRET_ID, SECRET_KEY),
        REGION,
        ClientProfile(httpProfile=http, retryer=retryer),
    )


def sdk(url: str, rows: int, *, threads: int, sleep: bool = False, retry: bool = False) -> None:
    """A client a thread; with `sleep` each thread rests after a call, so that all make 20 a s."""
    from tencentcloud.cbs.v20170312 import models
    from tencentcloud.common.exception import TencentCloudSDKException

    of_thread = local()

    def one(number: int) -> None:
        if not hasattr(of_thread, "client"):
            of_thread.client = sdk_client(url, retry=retry)
        row = request(number)
        asked = models.CreateSnapshotRequest()
        asked.DiskId, asked.SnapshotName = row.disk_id, row.name
        with suppress(TencentCloudSDKException):  # refused: the row has failed
            of_thread.client.CreateSnapshot(asked)
        if sleep:
            time.sleep(threads / CAP_PER_S)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(rows)))


@asynccontextmanager
async def _caller(url: str) -> AsyncIterator[Call]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(number: int) -> bool:
            job = signed(url, number)
            async with session.post(job.url, data=job.body, headers=job.headers) as reply:
                return b"RequestLimitExceeded" in await reply.read()

        yield call


async def limited(url: str, rows: int, *, rate: float, period: float) -> None:
    """aiohttp behind an AsyncLimiter, so many out at once."""
    from aiolimiter import AsyncLimiter

    limiter, slots = AsyncLimiter(rate, period), asyncio.Semaphore(_OUT_AT_ONCE)
    async with _caller(url) as call:

        async def one(number: int) -> None:
            async with slots:
                throttled = True
                while throttled:
                    await limiter.acquire()
                    throttled = await call(number)

        await asyncio.gather(*(one(number) for number in range(rows)))


async def metered(url: str, rows: int) -> None:
    """aiohttp under aiometer; throttled rows make another round."""
    import aiometer

    left = list(range(rows))
    async with _caller(url) as call:
        while left:
            jobs = [partial(call, number) for number in left]
            throttled = await aiometer.run_all(jobs, max_per_second=CAP_PER_S)
            left = [number for number, again in zip(left, throttled, strict=True) if again]


def _limiter(rate: float, period: float) -> Callable[[str, int], None]:
    return lambda url, rows: asyncio.run(limited(url, rows, rate=rate, period=period))


CONTENDERS: dict[str, tuple[str, Callable[[str, int], None]]] = {
    "SDK, 8 threads": ("tencentcloud", partial(sdk, threads=8)),
    "SDK, 32 threads": ("tencentcloud", partial(sdk, threads=32)),
    "SDK, 8, time.sleep": ("tencentcloud", partial(sdk, threads=8, sleep=True)),
    "SDK, 32, time.sleep": ("tencentcloud", partial(sdk, threads=32, sleep=True)),
    "SDK, 8, StandardRetryer": ("tencentcloud", partial(sdk, threads=8, retry=True)),
    "SDK, 32, StandardRetryer": ("tencentcloud", partial(sdk, threads=32, retry=True)),
    "AsyncLimiter(20, 1)": ("aiolimiter", _limiter(20, 1)),
    "AsyncLimiter(1, 0.05)": ("aiolimiter", _limiter(1, 0.05)),
    "aiometer, 20/s": ("aiometer", lambda url, rows: asyncio.run(metered(url, rows))),
}
"""By name: the package it needs, and the script."""


def missing(name: str) -> str:
    """Why a contender can't run here, or ""."""
    package = CONTENDERS[name][0]
    return "" if find_spec(package) else f"needs the package of `{package}`"


if __name__ == "__main__":
    CONTENDERS[sys.argv[1]][1](sys.argv[2], int(sys.argv[3]))
