"""Roles: their keys are asked for by our own call of STS, in time, and by one for all; the default
region; and who a key is. The simulator's STS is judged by the published SDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential as SdkCredential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from batchsnap.cloud.credentials import Credentials
from batchsnap.cloud.roles import Sts
from batchsnap.cloud.tc3 import Credential
from batchsnap.cloud.transport import post_once
from batchsnap.errors import CredentialsError
from batchsnap.model import Fault, FaultKind, Reply, SignedRequest
from batchsnap.simulator.scenario import Scenario
from batchsnap.simulator.server import EmbeddedSimulator
from tests.process import SECRET_ID, SECRET_KEY, Cli, sets, simulator, write_fleet, write_profile

ARN = "qcs::cam::uin/100000000001:roleName/keeper"
BASE = Credential(SECRET_ID, SECRET_KEY, "", "env")
NOW = 1_800_000_000.0


def calls(state: dict[str, Any], action: str) -> dict[str, int]:
    """SecretId -> calls."""
    return {q["secret_id"]: q["calls"] for q in state["quotas"] if q["action"] == action}


def test_the_environments_role_is_assumed_and_again_before_it_ends(tmp_path: Path) -> None:
    write_fleet(tmp_path, 60)
    role = {
        "TENCENTCLOUD_ASSUME_ROLE_ARN": ARN,
        "TENCENTCLOUD_ASSUME_ROLE_SESSION_DURATION": "2",
        "TENCENTCLOUD_ASSUME_ROLE_SESSION_NAME": "nightly",
    }
    with simulator(tmp_path) as cloud:
        done = Cli(tmp_path, role).run("run", "fleet.csv", "--endpoint", cloud.url)

        assert done.code == 0, done.err
        state = cloud.state()
    assert state["created"] == 60
    senders = calls(state, "CreateSnapshot")
    assert len(senders) >= 2
    assert all(name.startswith("AKIDrole") for name in senders)
    assert calls(state, "AssumeRole").keys() == {SECRET_ID}


def test_a_profile_of_tccli_asks_for_a_role(tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    write_profile(tmp_path, "team", **{"role-arn": ARN, "role-session-name": "me"})
    with simulator(tmp_path) as cloud:
        done = Cli(tmp_path).run(
            "run", "fleet.csv", "--endpoint", cloud.url, "--profile", "team", TCCLI_PROFILE="other"
        )

        assert done.code == 0, done.err
        assert all(k.startswith("AKIDrole") for k in calls(cloud.state(), "CreateSnapshot"))


def test_a_role_that_is_denied_says_what_to_do_and_nothing_is_sent(tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    with simulator(tmp_path, *sets(no_sts=True)) as cloud:
        done = Cli(tmp_path, {"TENCENTCLOUD_ROLE_ARN": ARN}).run(
            "run", "fleet.csv", "--endpoint", cloud.url
        )

        assert not calls(cloud.state(), "CreateSnapshot")
    assert done.code == 3
    for text in ("TENCENTCLOUD_ROLE_ARN", ARN, "UnauthorizedOperation", "allow sts:AssumeRole"):
        assert text in done.err
    assert SECRET_KEY not in done.err


def sdk(url: str) -> CommonClient:
    host = url.partition("//")[2]
    http = HttpProfile(protocol="http", endpoint=host)
    keys = SdkCredential(SECRET_ID, SECRET_KEY)
    profile = ClientProfile(httpProfile=http)
    return CommonClient("sts", "2018-08-13", keys, "ap-guangzhou", profile=profile)


def test_the_published_sdk_gets_the_same_from_the_simulator() -> None:
    asked = {"RoleArn": ARN, "RoleSessionName": "sdk", "DurationSeconds": 60}
    with EmbeddedSimulator() as cloud:
        client = sdk(cloud.url)
        response = client.call_json("AssumeRole", asked)["Response"]
        whose = client.call_json("GetCallerIdentity", {})["Response"]
        ours = anyio.run(Sts(cloud.url, "ap-guangzhou", post_once).caller, BASE)

    assert response["Credentials"].keys() == {"TmpSecretId", "TmpSecretKey", "Token"}
    assert ours == (whose["AccountId"], whose["Arn"])


def test_nobody_knows_whose_a_key_is_where_the_policy_forbids_it() -> None:
    with EmbeddedSimulator(Scenario(no_sts=True)) as cloud:
        assert anyio.run(Sts(cloud.url, "ap-guangzhou", post_once).caller, BASE) is None


def test_a_wrong_clock_is_set_by_the_clouds(tmp_path: Path) -> None:
    env = {"TENCENTCLOUD_SECRET_ID": SECRET_ID, "TENCENTCLOUD_SECRET_KEY": SECRET_KEY}
    env["TENCENTCLOUD_ROLE_ARN"] = ARN
    with EmbeddedSimulator(Scenario(clock_offset_s=7200.0)) as cloud:
        sts = Sts(cloud.url, "ap-guangzhou", post_once, now=lambda: cloud.simulator.now())
        found = anyio.run(Credentials(sts=sts, environ=env, home=tmp_path).get, "")
        assert found.source == found.quota_source == f"role:{ARN}"
        assert found.expires_at is not None
        # of our clock, not the cloud's, which is two hours ahead
        assert found.expires_at - cloud.simulator.now() < 7201


class Bank:
    """A STS that counts, and can be slow or out of order."""

    def __init__(self) -> None:
        self.time = NOW
        self.asked: list[SignedRequest] = []
        self.open = anyio.Event()
        self.open.set()
        self.fault = False

    async def post(self, request: SignedRequest, timeout_s: float) -> Reply | Fault:
        self.asked.append(request)
        await self.open.wait()
        if self.fault:
            return Fault(FaultKind.TIMEOUT, True, "no reply in time", 1.0)
        number = len(self.asked)
        keys = {"TmpSecretId": f"AKID{number}", "TmpSecretKey": "hush", "Token": "hush"}
        response = {"Credentials": keys, "ExpiredTime": int(self.time) + 3600, "RequestId": "r"}
        return Reply(200, json.dumps({"Response": response}).encode(), None, 1.0)

    def credentials(self, home: Path, **env: str) -> Credentials:
        keys = {"TENCENTCLOUD_SECRET_ID": "AKIDbase", "TENCENTCLOUD_SECRET_KEY": "hush"}
        sts = Sts(
            "https://cbs.tencentcloudapi.com",
            "ap-tokyo",
            self.post,
            now=lambda: self.time,
            pause_s=0.0,
        )
        env = {**keys, "TENCENTCLOUD_ROLE_ARN": ARN, **env}
        return Credentials(sts=sts, environ=env, home=home, now=lambda: self.time)


@pytest.fixture
async def bank() -> Bank:
    return Bank()


@pytest.mark.anyio
async def test_one_refreshes_and_nobody_waits_for_it(bank: Bank, tmp_path: Path) -> None:
    credentials, found = bank.credentials(tmp_path), []

    async def ask() -> None:
        found.append((await credentials.get("")).secret_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
    assert found == ["AKID1"] * 5
    assert len(bank.asked) == 1

    bank.time += 3600 - 299
    bank.open = anyio.Event()
    found.clear()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert found == ["AKID1"] * 4  # the old one signs on while its heir is fetched
        bank.open.set()
    assert found[4] == "AKID2"
    assert len(bank.asked) == 2


@pytest.mark.anyio
async def test_the_old_key_serves_while_sts_fails(bank: Bank, tmp_path: Path) -> None:
    credentials = bank.credentials(tmp_path)
    await credentials.get("")
    bank.time += 3600 - 200
    bank.fault = True
    assert (await credentials.get("")).secret_id == "AKID1"
    bank.time += 180
    with pytest.raises(CredentialsError, match=r"sts\.tencentcloudapi\.com") as raised:
        await credentials.get("")
    assert "hush" not in str(raised.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"TENCENTCLOUD_ROLE_SESSION_NAME": "x"}, "2 to 128"),
        ({"TENCENTCLOUD_ROLE_SESSION_NAME": "a b"}, "2 to 128"),
        ({"TENCENTCLOUD_ROLE_SESSION_DURATION": "2h"}, "number of seconds"),
        ({"TENCENTCLOUD_ROLE_SESSION_DURATION": "43201"}, "43200"),
        ({"TENCENTCLOUD_ROLE_ARN": "qcs::a b"}, "none"),
    ],
)
async def test_a_role_that_cannot_be_asked_for(
    bank: Bank, tmp_path: Path, env: dict[str, str], says: str
) -> None:
    with pytest.raises(CredentialsError, match=says):
        await bank.credentials(tmp_path, **env).get("")
    assert not bank.asked


@pytest.mark.anyio
async def test_the_environments_role_stands_for_the_one_of_the_default_profile(
    bank: Bank, tmp_path: Path
) -> None:
    write_profile(tmp_path, "default", **{"role-arn": "qcs::cam::uin/1:roleName/other"})
    empty = {"TENCENTCLOUD_SECRET_ID": "", "TENCENTCLOUD_SECRET_KEY": ""}
    credentials = bank.credentials(tmp_path, **empty)
    assert (await credentials.get("")).source == f"role:{ARN}"
    assert (await credentials.get("default")).source.endswith("/other")


def test_two_keys_of_one_sub_account_are_told(tmp_path: Path) -> None:
    path = write_fleet(tmp_path, 3)
    rows = path.read_text().splitlines()
    profiles = ["Profile", "a", "b", "c"]
    path.write_text("".join(f"{r},{p}\n" for r, p in zip(rows, profiles, strict=True)))
    ids = {"a": "AKIDone-1", "b": "AKIDone-2", "c": "AKIDtwo"}
    for name, secret_id in ids.items():
        write_profile(tmp_path, name, secretId=secret_id)
    with EmbeddedSimulator(credentials=dict.fromkeys(ids.values(), SECRET_KEY)) as cloud:
        done = Cli(tmp_path).run("run", "fleet.csv", "--endpoint", cloud.url)

    assert done.code == 0, done.err
    [line] = [line for line in done.err.splitlines() if "one sub-account" in line]
    assert "profiles a, b have" in line
    assert "divide --rate" in line


@pytest.mark.parametrize(
    ("args", "env", "region"),
    [
        ((), {}, "ap-mumbai"),
        ((), {"TENCENTCLOUD_REGION": "ap-seoul"}, "ap-seoul"),
        ((), {"TENCENTCLOUD_REGION": "ap-seoul", "BATCHSNAP_REGION": "ap-tokyo"}, "ap-tokyo"),
        (("--region", "ap-bangkok"), {"TENCENTCLOUD_REGION": "ap-seoul"}, "ap-bangkok"),
        ((), {"TCCLI_PROFILE": "team"}, "ap-jakarta"),
        (("--profile", "team"), {}, "ap-jakarta"),
        ((), {"TENCENTCLOUD_REGION": "no region"}, ""),
    ],
)
def test_the_region_of_rows_without_one(
    tmp_path: Path, args: tuple[str, ...], env: dict[str, str], region: str
) -> None:
    for name, place in (("default", "ap-mumbai"), ("team", "ap-jakarta")):
        path = tmp_path / ".tccli" / f"{name}.configure"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"_sys_param": {"region": place, "output": "json"}}))
    (tmp_path / "fleet.csv").write_text("DiskId\ndisk-00000001\n")

    done = Cli(tmp_path).run("plan", "fleet.csv", "--json", *args, **env)

    if not region:
        assert done.code == 2
        return
    assert done.code == 0, done.err
    assert done.json["quotas"][0]["regions"] == [region]
    named_by_us = "--region" in args or "BATCHSNAP_REGION" in env
    assert ("rows that name no region are taken to be in" in done.err) is not named_by_us
