"""Where keys come from, and their refresh before they expire. Never says a value, only a source.

Order without a profile: environment, tccli's profile, the SDKs' shared file, the machine's role.
A named profile is tccli's of that name, whatever the environment holds (as tccli does it).
"""

from __future__ import annotations

import configparser
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import orjson

from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import CredentialsError

REFRESH_BEFORE_S = 300.0
METADATA_URL = "http://metadata.tencentyun.com"
_ROLES = "/latest/meta-data/cam/security-credentials/"
_METADATA_WITHIN_S = 2.0
_SHARED = (Path(".tencentcloud/credentials"), Path("/etc/tencentcloud/credentials"))

Fetch = Callable[[str, float], Awaitable[tuple[int, bytes] | None]]
"""(url, timeout in seconds) -> (status, body), None where there was no answer."""


class Credentials:
    """Credentials by profile; "" is the default chain."""

    def __init__(
        self,
        fetch: Fetch | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
        metadata_url: str = METADATA_URL,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._environ = os.environ if environ is None else environ
        self._home = home
        self._metadata_url = metadata_url
        self._now = now
        self._held: dict[str, Credential] = {}
        self._lock = anyio.Lock()

    async def get(self, profile: str) -> Credential:
        """The credential of a profile, good for five more minutes at least.

        Raises:
            CredentialsError: there is none, with the places that were looked at.
        """
        held = self._held.get(profile)
        if held is not None and not self._stale(held):
            return held
        async with self._lock:
            held = self._held.get(profile)
            if held is None or self._stale(held):
                held = self._held[profile] = await self._find(profile)
            return held

    def invalidate(self, profile: str) -> None:
        """The cloud refused this profile's credential: read it anew at the next `get`."""
        self._held.pop(profile, None)

    def _stale(self, credential: Credential) -> bool:
        expires_at = credential.expires_at
        return expires_at is not None and expires_at - self._now() <= REFRESH_BEFORE_S

    async def _find(self, profile: str) -> Credential:
        if profile:
            return await anyio.to_thread.run_sync(self._from_profile, profile)
        found = self._from_environment()
        if found is None:
            found = await anyio.to_thread.run_sync(self._from_files)
        if found is None and self._fetch is not None:
            found = await self._from_role(self._fetch)
        if found is None:
            raise CredentialsError(
                "no credentials. Looked at: TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, "
                f"{self._tccli(self._default_profile())}, ~/{_SHARED[0]}, {_SHARED[1]}, and this "
                "machine's CVM role. Set one of them, or name a profile with --profile"
            )
        return found

    def _from_environment(self) -> Credential | None:
        env = self._environ
        secret_id = env.get("TENCENTCLOUD_SECRET_ID", "")
        secret_key = env.get("TENCENTCLOUD_SECRET_KEY", "")
        if not secret_id and not secret_key:
            return None
        if not secret_id or not secret_key:
            raise CredentialsError(
                "only one of TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY is set: set both"
            )
        token = env.get("TENCENTCLOUD_TOKEN") or env.get("TENCENTCLOUD_SECURITY_TOKEN") or ""
        return _credential(secret_id, secret_key, token, "env")

    def _from_files(self) -> Credential | None:
        profile = self._default_profile()
        if self._tccli(profile).exists():
            return self._from_profile(profile)
        for path in _SHARED:
            found = self._from_shared(self._folder() / path)
            if found is not None:
                return found
        return None

    def _default_profile(self) -> str:
        return self._environ.get("TCCLI_PROFILE") or "default"

    def _folder(self) -> Path:
        return self._home if self._home is not None else Path("~").expanduser()

    def _tccli(self, profile: str) -> Path:
        return self._folder() / ".tccli" / f"{profile}.credential"

    def _from_profile(self, profile: str) -> Credential:
        """tccli's file: JSON with secretId, secretKey and perhaps token, type, expiresAt."""
        if "/" in profile or profile.startswith("."):
            raise CredentialsError(f"{profile!r} is no name of a profile")
        path = self._tccli(profile)
        try:
            values: Any = orjson.loads(path.read_bytes())
        except OSError as error:
            raise CredentialsError(
                f"can't read {path}: {error.strerror}. `tccli configure --profile {profile}` "
                "makes it"
            ) from None
        except orjson.JSONDecodeError:
            raise CredentialsError(f"{path} is not JSON: make it anew with tccli") from None
        if not isinstance(values, dict):
            raise CredentialsError(f"{path} holds no JSON object: make it anew with tccli")
        if values.get("role-arn"):
            raise CredentialsError(
                f"{path} assumes a role, which batchsnap does not do: put the role's temporary "
                "keys into the environment or another profile"
            )
        expires_at = values.get("expiresAt")
        logged_in = values.get("type") in {"oauth", "sso"}
        if logged_in and isinstance(expires_at, int | float) and expires_at <= self._now():
            raise CredentialsError(f"the login in {path} has expired: log in again with tccli")
        secret_id, secret_key = values.get("secretId"), values.get("secretKey")
        if not isinstance(secret_id, str) or not isinstance(secret_key, str):
            raise CredentialsError(f"{path} lacks secretId or secretKey")
        return _credential(
            secret_id,
            secret_key,
            str(values.get("token") or ""),
            f"profile:{profile}",
            float(expires_at) if logged_in and isinstance(expires_at, int | float) else None,
        )

    @staticmethod
    def _from_shared(path: Path) -> Credential | None:
        """The SDKs' INI file, section [default]; quotes are no part of a value."""
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(path.read_text(encoding="utf8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, configparser.Error):
            raise CredentialsError(f"can't read {path}, or it is no INI file") from None
        if not parser.has_section("default"):
            raise CredentialsError(f"{path} has no section [default]")
        values = {k: v.strip().strip("'\"") for k, v in parser.items("default")}
        if not values.get("secret_id") or not values.get("secret_key"):
            raise CredentialsError(f"{path} lacks secret_id or secret_key in [default]")
        return _credential(values["secret_id"], values["secret_key"], "", f"file:{path}")

    async def _from_role(self, fetch: Fetch) -> Credential | None:
        """The CVM role's temporary keys from the metadata service; None on other machines."""
        base = f"{self._metadata_url}{_ROLES}"
        listed = await fetch(base, _METADATA_WITHIN_S)
        if listed is None or listed[0] != 200:
            return None
        role = listed[1].decode(errors="replace").strip().splitlines()[0].strip()
        answer = await fetch(base + role, _METADATA_WITHIN_S)
        try:
            values = orjson.loads(answer[1]) if answer is not None else {}
            if values.get("Code") != "Success":
                raise KeyError("Code")
            return _credential(
                values["TmpSecretId"],
                values["TmpSecretKey"],
                values["Token"],
                f"cvm-role:{role}",
                float(values["ExpiredTime"]),
            )
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            raise CredentialsError(
                f"the metadata service gave no keys for role {role}: check the role of this machine"
            ) from None


def _credential(
    secret_id: str, secret_key: str, token: str, source: str, expires_at: float | None = None
) -> Credential:
    """Keys as pasted often carry a space or newline, which no header may hold."""
    values = [secret_id.strip(), secret_key.strip(), token.strip()]
    if not all(value.isascii() and value.isprintable() for value in values):
        raise CredentialsError(f"the keys from {source} hold characters that no key has")
    secret_id, secret_key, token = values
    return Credential(secret_id, secret_key, token, source, expires_at)
