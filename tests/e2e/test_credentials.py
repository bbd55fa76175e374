"""Credentials: the order of places, every way a place can be wrong, refresh, and silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchsnap.cloud.credentials import Credentials
from batchsnap.cloud.sources import Fetch
from batchsnap.errors import CredentialsError

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
ENV = {"TENCENTCLOUD_SECRET_ID": "AKIDenv", "TENCENTCLOUD_SECRET_KEY": "env-hush"}
ROLES = "http://metadata.example/latest/meta-data/cam/security-credentials/"


class World:
    """A home, an environment, a clock and a metadata service."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env: dict[str, str] = {}
        self.time = NOW
        self.roles: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.credentials = self.open()

    def open(self, fetch: Fetch | None = None) -> Credentials:
        return Credentials(
            fetch or self.fetch,
            environ=self.env,
            home=self.home,
            metadata_url="http://metadata.example",
            now=lambda: self.time,
        )

    async def fetch(self, url: str, timeout_s: float) -> tuple[int, bytes] | None:
        assert timeout_s <= 2
        self.asked.append(url)
        return self.roles.get(url)

    def role(self, secret_id: str, left_s: float, **more: object) -> None:
        values = {
            "Code": "Success",
            "TmpSecretId": secret_id,
            "TmpSecretKey": "role-hush",
            "Token": "token-hush",
            "ExpiredTime": int(self.time + left_s),
            **more,
        }
        self.roles = {
            ROLES: (200, b"keeper\n"),
            ROLES + "keeper": (200, json.dumps(values).encode()),
        }

    def write(self, name: str, text: str | dict[str, Any]) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf8")

    def profile(self, name: str, **more: object) -> None:
        keys = {"secretId": f"AKID{name}", "secretKey": f"{name}-hush"}
        self.write(f".tccli/{name}.credential", {**keys, **more})

    def shared(self, section: str = "default") -> None:
        text = f"[{section}]\nsecret_id = \"AKIDshared\"\nsecret_key = 'shared%hush'\n"
        self.write(".tencentcloud/credentials", text)

    async def refused(self, profile: str = "") -> str:
        with pytest.raises(CredentialsError) as raised:
            await self.open().get(profile)
        error: BaseException | None = raised.value
        text = str(error)
        assert "hush" not in text
        assert error is not None
        # A traceback shows what is chained, so a library's error may carry no key either.
        assert error.__suppress_context__ or error.__context__ is None
        return text


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_the_order_of_places(world: World) -> None:
    world.role("AKIDrole", 3600)
    assert (await world.open().get("")).source == "cvm-role:keeper"
    world.shared()
    found = await world.open().get("")
    assert found.source == f"file:{world.home}/.tencentcloud/credentials"
    assert (found.secret_id, found.secret_key) == ("AKIDshared", "shared%hush")
    world.profile("default", token="t")
    found = await world.open().get("")
    assert (found.source, found.secret_id, found.token) == ("profile:default", "AKIDdefault", "t")
    world.env.update(ENV)
    found = await world.open().get("")
    assert (found.source, found.secret_id, found.token) == ("env", "AKIDenv", "")
    assert found.expires_at is None


@pytest.mark.parametrize("name", ["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"])
async def test_either_name_of_the_token(world: World, name: str) -> None:
    world.env.update(ENV | {name: " spaced\n"})
    assert (await world.open().get("")).token == "spaced"


@pytest.mark.parametrize("quote", ["'", '"'])
async def test_quotes_around_a_key_are_no_part_of_it(world: World, quote: str) -> None:
    world.env.update({name: f" {quote}{value}{quote}\n" for name, value in ENV.items()})
    found = await world.open().get("")
    assert (found.secret_id, found.secret_key) == ("AKIDenv", "env-hush")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
async def test_files_as_windows_writes_them(world: World, encoding: str) -> None:
    world.shared()
    shared = world.home / ".tencentcloud/credentials"
    shared.write_bytes(shared.read_text().encode(encoding))
    assert (await world.open().get("")).secret_id == "AKIDshared"
    world.profile("team")
    team = world.home / ".tccli/team.credential"
    team.write_bytes(team.read_text().encode(encoding))
    assert (await world.open().get("team")).secret_key == "team-hush"


@pytest.mark.parametrize("data", [b"\xff\xfehush", b"\xef\xbb\xbf\xff\xff", b"h\0u"])
async def test_a_file_in_no_encoding(world: World, data: bytes) -> None:
    world.shared()
    (world.home / ".tencentcloud/credentials").write_bytes(data)
    assert ".tencentcloud/credentials" in await world.refused()


async def test_a_named_profile_ignores_the_environment(world: World) -> None:
    world.env.update(ENV)
    world.profile("team")
    assert (await world.open().get("team")).source == "profile:team"


async def test_the_environment_names_the_profile(world: World) -> None:
    world.profile("default")
    world.profile("team")
    world.env["TCCLI_PROFILE"] = "team"
    assert (await world.open().get("")).source == "profile:team"
    world.env["TCCLI_PROFILE"] = "gone"  # and not the next place: that would be somebody else
    assert "gone.credential" in await world.refused()


async def test_a_permanent_key_is_known_by_its_id_and_a_temporary_one_by_its_role(
    world: World,
) -> None:
    world.profile("a", secretId="AKIDone")
    world.profile("b", secretId="AKIDone", secretKey="another")
    world.profile("c", secretId="AKIDtwo")
    world.profile("t", secretId="AKIDone", token="t")
    sources = {name: (await world.open().get(name)).quota_source for name in "abct"}

    assert sources["a"] == sources["b"] != sources["c"]
    assert sources["t"] == "profile:t"
    assert "AKIDone" not in sources["a"]

    world.role("AKIDfirst", 3600)
    found = await world.open().get("")
    world.role("AKIDsecond", 3600)
    again = await world.open().get("")
    assert found.quota_source == again.quota_source == "cvm-role:keeper"


async def test_nothing_anywhere(world: World) -> None:
    text = await world.refused()
    for place in ("TENCENTCLOUD_SECRET_ID", "default.credential", "/etc/tencentcloud", "CVM role"):
        assert place in text
    assert "--profile" in text


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/x", ".hidden", "..", "a\\b", "a\0", "a\n"])
async def test_a_profile_stays_in_its_folder(world: World, name: str) -> None:
    assert "no name of a profile" in await world.refused(name)


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ({"role-arn": "qcs::cam::uin/1:roleName/x"}, "asks for a role"),
        ({"role-arn": 5}, "texts"),
        ({"type": "cvm-role"}, "role of this machine"),
        ({"type": "saml"}, "type"),
        ({"secretKey": None}, "lacks"),
        ({"secretId": ""}, "lacks"),
        ({"secretId": "AKID\u00e9"}, "characters"),
        ({"secretKey": "hush\nhush"}, "a space, a quote or a comment"),
        ({"secretKey": "hush # mine"}, "a space, a quote or a comment"),
        ({"secretKey": "hush;hush"}, "a space, a quote or a comment"),
        ({"secretId": "AKID hush"}, "a space, a quote or a comment"),
        ({"secretKey": '"hush'}, "a space, a quote or a comment"),
        ({"token": "hush hush"}, "a space, a quote or a comment"),
        ({"secretKey": "hush\x00hush"}, "characters"),
        ({"secretKey": "  "}, "empty"),
        ({"type": "oauth", "expiresAt": NOW - 1}, "tccli auth login --profile x"),
        ({"type": "sso", "expiresAt": NOW + 5}, "tccli sso login --profile x"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_profile_that_cannot_be_used(
    world: World, profile: dict[str, Any], says: str
) -> None:
    world.profile("x", **profile)
    assert says in await world.refused("x")


@pytest.mark.parametrize("text", ["secretKey: hush", "[]", "", '{"secretKey": "hush"'])
async def test_a_profile_that_is_no_json_object(world: World, text: str) -> None:
    world.write(".tccli/x.credential", text)
    assert "x.credential" in await world.refused("x")


@pytest.mark.parametrize(
    "text", ["hush", "[default]\nhush", "[other]\na=hush\n", "[default]\nsecret_id=a\n"]
)
async def test_a_shared_file_that_cannot_be_used(world: World, text: str) -> None:
    world.write(".tencentcloud/credentials", text)
    assert ".tencentcloud/credentials" in await world.refused()


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"TENCENTCLOUD_SECRET_ID": "a"}, "only one"),
        ({"TENCENTCLOUD_SECRET_KEY": "hush"}, "only one"),
        (ENV | {"TENCENTCLOUD_ROLE_ARN": "qcs::x"}, "asks for a role"),
        ({"TKE_ROLE_ARN": "qcs::x"}, "TKE"),
    ],
)
async def test_an_environment_that_cannot_be_used(
    world: World, env: dict[str, str], says: str
) -> None:
    world.role("AKIDrole", 3600)
    world.env.update(env)
    assert says in await world.refused()


@pytest.mark.parametrize("type_", ["oauth", "sso"])
async def test_a_login_that_lasts(world: World, type_: str) -> None:
    world.profile("x", type=type_, expiresAt=NOW + 3600, token="t")
    found = await world.open().get("x")
    assert (found.expires_at, found.source) == (NOW + 3600, "profile:x")


async def test_a_profile_of_the_machines_role(world: World) -> None:
    world.role("AKIDrole", 3600)
    world.write(".tccli/x.credential", {"type": "cvm-role"})
    assert (await world.open().get("x")).secret_id == "AKIDrole"


@pytest.mark.parametrize(
    "roles",
    [
        {},
        {ROLES: (404, b"")},
        {ROLES: (200, b"")},
        {ROLES: (200, b"../../secret")},
        {ROLES: (200, b"<html>\xff")},
    ],
)
async def test_a_machine_without_a_role(world: World, roles: dict[str, tuple[int, bytes]]) -> None:
    world.roles = roles
    assert "no credentials" in await world.refused()


@pytest.mark.parametrize(
    "change",
    [
        {"Code": "Failed"},
        {"ExpiredTime": "soon"},
        {"TmpSecretKey": None},
        {"Token": 5},
    ],
)
async def test_a_role_without_keys(world: World, change: dict[str, object]) -> None:
    world.role("AKIDrole", 3600, **change)
    assert "keeper" in await world.refused()


@pytest.mark.parametrize("body", [b"[]", b"hush", b"null", b'{"Code":"Success"}'])
async def test_a_role_in_an_unknown_shape(world: World, body: bytes) -> None:
    world.role("AKIDrole", 3600)
    world.roles[ROLES + "keeper"] = (200, body)
    assert "keeper" in await world.refused()


async def test_a_key_is_read_once_and_again_near_its_end(world: World) -> None:
    world.role("AKID1", 3600)
    for _ in range(3):
        assert (await world.credentials.get("")).secret_id == "AKID1"
    assert len(world.asked) == 2
    world.time += 3600 - 301
    assert (await world.credentials.get("")).secret_id == "AKID1"
    assert len(world.asked) == 2
    world.time += 2
    world.role("AKID2", 3600)
    assert (await world.credentials.get("")).secret_id == "AKID2"


async def test_a_source_with_nothing_newer_is_not_asked_each_time(world: World) -> None:
    world.role("AKID1", 200)
    for _ in range(5):
        await world.credentials.get("")
    assert len(world.asked) == 2
    world.time += 100  # half of its life
    for _ in range(5):
        await world.credentials.get("")
    assert len(world.asked) == 4
    world.time += 10
    await world.credentials.get("")
    assert len(world.asked) == 6


async def test_an_old_key_serves_while_its_source_fails(world: World) -> None:
    world.role("AKID1", 3600)
    await world.credentials.get("")
    world.time += 3400
    world.roles = {}
    assert (await world.credentials.get("")).secret_id == "AKID1"
    world.time += 180
    with pytest.raises(CredentialsError):
        await world.credentials.get("")


async def test_a_refused_key_is_read_anew(world: World) -> None:
    world.profile("x")
    assert (await world.credentials.get("x")).secret_id == "AKIDx"
    world.profile("x", secretId="AKIDfresh")
    assert (await world.credentials.get("x")).secret_id == "AKIDx"
    world.credentials.invalidate("x")
    assert (await world.credentials.get("x")).secret_id == "AKIDfresh"
    world.credentials.invalidate("nobody")


async def test_many_ask_and_one_refreshes(world: World) -> None:
    world.role("AKID1", 3600)
    asked = anyio.Event()
    going_on = anyio.Event()

    async def slow(url: str, timeout_s: float) -> tuple[int, bytes] | None:
        asked.set()
        await going_on.wait()
        return await world.fetch(url, timeout_s)

    credentials, found = world.open(slow), []

    async def ask() -> None:
        found.append((await credentials.get("")).secret_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
        await asked.wait()
        going_on.set()
    assert found == ["AKID1"] * 5
    assert len(world.asked) == 2


async def test_a_key_shows_only_its_source(world: World) -> None:
    world.profile("x", token="token-hush")
    credential = await world.open().get("x")
    assert repr(credential) == str(credential) == "Credential(profile:x)"


Prepare = Callable[[World], None]
