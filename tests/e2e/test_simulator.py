"""The simulated cloud over a real socket: who may ask, what each fault looks like, the command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from batchsnap.simulator.scenario import Kind, Scenario, Step
from batchsnap.simulator.server import Simulator, serve
from tests.signed import DISK, SECRET_ID, SECRET_KEY, signed

pytestmark = pytest.mark.anyio

AT = 1_767_225_600.0


def quick(**values: Any) -> Scenario:
    return Scenario(latency_ms=0, creating_s=0, **values)


class Client:
    """A simulator and an HTTP client that knows nothing of batchsnap."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session
        self.host = simulator.url.removeprefix("http://")

    async def raw(
        self, action: str = "CreateSnapshot", body: Any = None, **more: Any
    ) -> tuple[int, bytes]:
        data = json.dumps({"DiskId": DISK} if body is None else body).encode()
        headers = signed(self.host, action, data, **{"at": self.simulator.now(), **more})
        async with self.session.post(self.simulator.url, data=data, headers=headers) as reply:
            return reply.status, await reply.read()

    async def call(self, *args: Any, **more: Any) -> dict[str, Any]:
        status, body = await self.raw(*args, **more)
        assert status == 200
        return json.loads(body)["Response"]

    async def code(self, *args: Any, **more: Any) -> str:
        return (await self.call(*args, **more))["Error"]["Code"]

    async def get(self, path: str) -> Any:
        async with self.session.get(self.simulator.url + path) as reply:
            return await reply.json(content_type=None)

    @property
    def created(self) -> int:
        return self.simulator.world.created


@asynccontextmanager
async def client(
    scenario: Scenario | None = None, *, timeout_s: float = 20, **more: Any
) -> AsyncIterator[Client]:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        serve(scenario or quick(), **more) as simulator,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        yield Client(simulator, session)


# Who may ask.


async def test_a_clock_five_minutes_off_is_refused() -> None:
    async with client(quick(clock_offset_s=1000), now=lambda: AT) as cloud:
        assert await cloud.code(at=AT + 699) == "AuthFailure.SignatureExpire"
        assert await cloud.code(at=AT + 1301) == "AuthFailure.SignatureExpire"
        assert await cloud.call(at=AT + 700)
        async with cloud.session.post(cloud.simulator.url) as reply:
            date = parsedate_to_datetime(reply.headers["Date"])
        assert date.timestamp() == AT + 1000


async def test_who_may_ask_and_how() -> None:
    async with client() as cloud:
        for headers, code in (
            ({"X-TC-Version": "2018-01-01"}, "NoSuchVersion"),
            ({"X-TC-Version": ""}, "MissingParameter"),
            ({"X-TC-Region": ""}, "MissingParameter"),
            ({"X-TC-Region": "Guangzhou"}, "UnsupportedRegion"),
            ({"X-TC-Action": "DropTables"}, "InvalidAction"),
            ({"X-TC-Token": "t"}, "AuthFailure.TokenFailure"),
            ({"Content-Type": "text/plain"}, "UnsupportedProtocol"),
            ({"Content-Type": "application/json; charset=utf-8"}, "AuthFailure.SignatureFailure"),
        ):
            assert await cloud.code(**headers) == code
        assert await cloud.code(key=(SECRET_ID, "wrong")) == "AuthFailure.SignatureFailure"
        assert await cloud.code(key=("AKIDother", SECRET_KEY)) == "AuthFailure.SecretIdNotFound"
        async with cloud.session.put(cloud.simulator.url) as reply:
            assert (await reply.json())["Response"]["Error"]["Code"] == "UnsupportedProtocol"
        assert await cloud.code(body={"DiskId": DISK, "ClientToken": "t"}) == "UnknownParameter"
        assert cloud.created == 0
    async with client(credentials={"*": SECRET_KEY}) as cloud:
        assert await cloud.call(key=("AKIDanybody", SECRET_KEY))
    async with client(quick(bad_credentials=True)) as cloud:
        assert await cloud.code() == "AuthFailure.SecretIdNotFound"


@pytest.mark.parametrize(
    "kind",
    [
        Kind.OK,
        Kind.ERROR,
        Kind.ERROR_5XX,
        Kind.HTML_200,
        Kind.NULL_ID,
        Kind.TRUNCATED,
        Kind.DRIP,
        Kind.THROTTLE,
    ],
)
async def test_every_reply_declares_a_rehearsal(kind: Kind) -> None:
    """Only a reply with these words lets a client be less patient than the real cloud asks."""
    step = Step(kind, action="*", seconds=0.01)
    async with client(quick(visible_after_s=2.5, script=(step,))) as cloud:
        for action in ("CreateSnapshot", "DescribeSnapshots"):
            data = b"{}" if action == "DescribeSnapshots" else b'{"DiskId":"%s"}' % DISK.encode()
            headers = signed(cloud.host, action, data, at=cloud.simulator.now())
            async with cloud.session.post(cloud.simulator.url, data=data, headers=headers) as reply:
                assert reply.headers["X-Batchsnap-Simulator"] == "visible-after=2.500000"
        async with cloud.session.post(cloud.simulator.url) as unsigned:
            assert unsigned.headers["X-Batchsnap-Simulator"] == "visible-after=2.500000"


# Fates, each over the socket.


def scripted(kind: Kind, **more: Any) -> Scenario:
    return quick(script=(Step(kind, nth=(1,), **more),))


@pytest.mark.parametrize(
    ("kind", "done"),
    [(Kind.LOST_REPLY, 1), (Kind.RESET, 0), (Kind.TRUNCATED, 1)],
)
async def test_a_cut_line(kind: Kind, done: int) -> None:
    async with client(scripted(kind)) as cloud:
        with pytest.raises((aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)):
            await cloud.raw()
        assert cloud.created == done
        assert await cloud.call()
        assert (await cloud.get("/_sim/state"))["faults"] == {kind.value: 1}


async def test_a_late_delivery_comes_after_everybody_left() -> None:
    async with client(scripted(Kind.LATE, seconds=0.05)) as cloud:
        with pytest.raises(aiohttp.ClientConnectionError):
            await cloud.raw()
        assert cloud.created == 0
        while not cloud.created:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("committed", [True, False])
async def test_silence(committed: bool) -> None:
    scenario = scripted(Kind.HANG, committed=committed, seconds=600)
    async with client(scenario, timeout_s=0.2) as cloud:
        with pytest.raises(TimeoutError):
            await cloud.raw()
        assert cloud.created == committed


@pytest.mark.parametrize("committed", [True, False])
async def test_replies_that_leave_a_doubt(committed: bool) -> None:
    async with client(scripted(Kind.ERROR_5XX, committed=committed)) as cloud:
        status, body = await cloud.raw()
        assert (status, body[:6], cloud.created) == (502, b"<html>", committed)
    async with client(scripted(Kind.HTML_200, committed=committed)) as cloud:
        status, body = await cloud.raw()
        assert (status, body[:6], cloud.created) == (200, b"<html>", committed)
    async with client(scripted(Kind.NULL_ID, committed=committed)) as cloud:
        reply = await cloud.call()
        assert reply.keys() == {"SnapshotId", "RequestId"}
        assert (reply["SnapshotId"], cloud.created) == (None, committed)
    async with client(scripted(Kind.INTERNAL_ERROR, committed=committed)) as cloud:
        assert await cloud.code() == "InternalError.ComponentError"
        assert cloud.created == committed


async def test_a_dripping_reply_arrives_whole() -> None:
    async with client(scripted(Kind.DRIP, seconds=0.01)) as cloud:
        assert (await cloud.call())["SnapshotId"].startswith("snap-")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.BUSY, "InvalidDisk.Busy"),
        (Kind.BACKPRESSURE, "ResourceUnavailable.TooManyCreatingSnapshot"),
        (Kind.NOT_FOUND, "InvalidDiskId.NotFound"),
        (Kind.THROTTLE, "RequestLimitExceeded"),
    ],
)
async def test_plain_refusals(kind: Kind, code: str) -> None:
    async with client(scripted(kind)) as cloud:
        assert await cloud.code() == code
        assert cloud.created == 0
        assert await cloud.call()


async def test_a_script_may_say_anything_to_any_action() -> None:
    step = Step(Kind.ERROR, action="DescribeSnapshots", code="FailedOperation.Odd", message="m")
    async with client(quick(script=(step,))) as cloud:
        reply = await cloud.call("DescribeSnapshots", {})
        assert reply["Error"] == {"Code": "FailedOperation.Odd", "Message": "m"}
        assert await cloud.call()


async def test_the_cap_holds_at_the_door() -> None:
    async with client(quick(), now=lambda: AT) as cloud:
        replies = [await cloud.call(body={"DiskId": f"disk-{n:08d}"}) for n in range(25)]
        codes = [r.get("Error", {}).get("Code", "") for r in replies]
        assert codes == [""] * 20 + ["RequestLimitExceeded"] * 5
        assert "`25`" in replies[-1]["Error"]["Message"]
        assert "`20`" in replies[-1]["Error"]["Message"]
        [quota] = (await cloud.get("/_sim/state?brief=1"))["quotas"]
        assert quota == {
            "action": "CreateSnapshot",
            "secret_id": SECRET_ID,
            "calls": 25,
            "throttled": 5,
            "worst_second": 25,
            "worst_second_accepted": 20,
        }


async def test_a_client_that_left_does_not_undo_what_it_asked_for() -> None:
    async with client(Scenario(latency_ms=200, latency_spread=0), timeout_s=0.05) as cloud:
        with pytest.raises(TimeoutError):
            await cloud.raw()
        while not cloud.created:
            await asyncio.sleep(0.005)


# The doors for people and tests.


async def test_the_scenario_changes_live_and_the_world_is_reset() -> None:
    async with client() as cloud:
        assert await cloud.get("/_sim/health") == {"ok": True}
        assert await cloud.call()

        async def post(path: str, body: str = "") -> int:
            async with cloud.session.post(cloud.simulator.url + path, data=body) as reply:
                return reply.status

        assert await post("/_sim/scenario", '{"busy": 1.0, "latency_ms": 0}') == 200
        assert await cloud.code(body={"DiskId": "disk-0000000b"}) == "InvalidDisk.Busy"
        state = await cloud.get("/_sim/state")
        assert [s["disk_id"] for s in state["snapshots"]] == [DISK]
        assert await post("/_sim/scenario", '{"busy": 7}') == 400
        assert await post("/_sim/scenario", "{") == 400
        assert await post("/_sim/nothing") == 404
        assert await post("/_sim/reset") == 200
        assert (await cloud.get("/_sim/state"))["snapshots"] == []


async def test_the_metadata_service_lends_keys_that_expire() -> None:
    now = [AT]
    base = "/latest/meta-data/cam/security-credentials/"
    async with client(quick(role_ttl_s=100), now=lambda: now[0]) as cloud:
        async with cloud.session.get(cloud.simulator.url + base) as reply:
            role = await reply.text()
        lent = await cloud.get(base + role)
        key, token = (lent["TmpSecretId"], lent["TmpSecretKey"]), lent["Token"]
        assert (lent["Code"], lent["ExpiredTime"]) == ("Success", AT + 100)
        assert await cloud.call(key=key, token=token)
        assert await cloud.code(key=key) == "AuthFailure.TokenFailure"
        assert await cloud.get(base + role) == lent
        now[0] += 100
        assert await cloud.code(key=key, token=token) == "AuthFailure.TokenFailure"
        assert (await cloud.get(base + role))["TmpSecretId"] != key[0]
