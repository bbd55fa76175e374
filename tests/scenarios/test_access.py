"""A key that the cloud refuses is read anew, once, where somebody changed it meanwhile."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchsnap.client.account import Account
from batchsnap.clock import LoopClock
from batchsnap.cloud import sources
from batchsnap.cloud.credentials import Credentials
from batchsnap.model import Fault, Quota, Reply, SignedRequest
from batchsnap.pacing.gate import LocalGate
from batchsnap.simulator.auth import verify
from batchsnap.simulator.requests import Refused

pytestmark = pytest.mark.anyio

OLD, NEW = ("AKIDold", "old-key"), ("AKIDnew", "new-key")


class Door:
    """A cloud that knows some keys and answers every rightly signed question."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys
        self.signed_by: list[str] = []

    async def send(self, request: SignedRequest, *_: Any) -> Reply | Fault:
        headers = {name.lower(): value for name, value in request.headers}
        self.signed_by.append(headers["authorization"].partition("Credential=")[2].split("/")[0])
        try:
            verify(_Headers(headers), request.body, self.keys, time.time())
        except Refused as refused:
            said: dict[str, Any] = {"Error": {"Code": refused.code, "Message": refused.message}}
        else:
            said = {"TotalCount": 0, "DiskSet": []}
        body = json.dumps({"Response": {**said, "RequestId": "r"}}).encode()
        return Reply(200, body, None, 1.0)


class _Headers(dict[str, str]):
    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Gates:
    def __init__(self) -> None:
        self._gate = LocalGate(1000.0, clock=LoopClock())

    def of(self, quota: Quota) -> LocalGate:
        return self._gate


def write(home: Path, key: tuple[str, str]) -> None:
    (home / ".tccli").mkdir(exist_ok=True)
    keys = {"secretId": key[0], "secretKey": key[1]}
    (home / ".tccli" / "x.credential").write_text(json.dumps(keys))


def access_of(home: Path, door: Door) -> Account:
    return Account(
        "x",
        "https://cbs.example.com",
        credentials=Credentials(environ={}, home=home),
        send=door,
        gates=Gates(),
        clock=LoopClock(),
        timeout_s=5.0,
    )


@pytest.mark.parametrize(
    ("rotated_to", "known"),
    [
        pytest.param(NEW, dict([NEW]), id="another id"),
        pytest.param((OLD[0], "rolled"), {OLD[0]: "rolled"}, id="the id's key was rolled"),
    ],
)
async def test_keys_that_were_rotated_are_read_anew(
    tmp_path: Path, rotated_to: tuple[str, str], known: dict[str, str]
) -> None:
    write(tmp_path, OLD)
    door = Door(dict([OLD]))
    account = access_of(tmp_path, door)
    assert (await account.read("DescribeDisks", "ap-tokyo", b"{}")).kind == "ok"
    door.keys = known
    write(tmp_path, rotated_to)

    assert (await account.read("DescribeDisks", "ap-tokyo", b"{}")).kind == "ok"
    assert door.signed_by == [OLD[0], OLD[0], rotated_to[0]]


async def test_many_that_are_refused_at_once_read_the_key_anew_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a role each reading is a call of its own."""
    reads: list[str] = []
    real = sources.read_profile

    def counted(home: Path, profile: str) -> dict[str, Any]:
        reads.append(profile)
        return real(home, profile)

    monkeypatch.setattr(sources, "read_profile", counted)
    write(tmp_path, OLD)
    door = Door(dict([OLD]))
    account = access_of(tmp_path, door)
    await account.read("DescribeDisks", "ap-tokyo", b"{}")
    door.keys = dict([NEW])
    write(tmp_path, NEW)
    reads.clear()

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(account.read, "DescribeDisks", "ap-tokyo", b"{}")

    assert door.signed_by.count(NEW[0]) == 5
    assert len(reads) == 1


async def test_keys_that_are_wrong_are_tried_once(tmp_path: Path) -> None:
    write(tmp_path, (OLD[0], "wrong"))
    door = Door(dict([OLD]))
    ruling = await access_of(tmp_path, door).read("DescribeDisks", "ap-tokyo", b"{}")

    assert (ruling.kind, ruling.code) == ("denied", "AuthFailure.SignatureFailure")
    assert door.signed_by == [OLD[0]]


async def test_a_secret_that_the_cloud_echoes_is_masked(tmp_path: Path) -> None:
    key = ("AKIDmadeupmadeup", "made-up-secret-key-1")
    write(tmp_path, key)

    class Echo(Door):
        async def send(self, request: SignedRequest, *_: Any) -> Reply | Fault:
            error = {"Code": "InvalidParameter", "Message": "m" * 490 + key[1]}  # cut at 500
            body = json.dumps({"Response": {"Error": error, "RequestId": key[1]}}).encode()
            return Reply(200, body, None, 1.0)

    ruling = await access_of(tmp_path, Echo({})).read("DescribeDisks", "ap-tokyo", b"{}")

    assert ruling.code == "InvalidParameter"
    assert key[1][:8] not in ruling.message
