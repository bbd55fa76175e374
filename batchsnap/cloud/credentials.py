"""Which credential a profile has, and its refresh before it expires. Never says a value.

Order without a profile: environment, tccli's profile, the SDKs' shared file, the machine's role.
A named profile is tccli's of that name, whatever the environment holds (as tccli does it). Where
the environment or a profile asks for a role, its keys are asked for with the credential found.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from batchsnap.cloud import sources
from batchsnap.cloud.endpoints import is_region
from batchsnap.cloud.roles import Role, Sts
from batchsnap.cloud.sources import METADATA_URL, Fetch
from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import CredentialsError
from batchsnap.settings import ENDPOINT_DEFAULT

REFRESH_BEFORE_S = 300.0
STS_REGION = "ap-guangzhou"  # of calls that no region was named for: STS serves all from each
LOOK_AGAIN_S = 10.0  # how often a source is read that has nothing newer yet
_SHARED = (Path(".tencentcloud/credentials"), Path("/etc/tencentcloud/credentials"))


class _Held(NamedTuple):
    credential: Credential
    look_at: float  # Unix seconds; when its source is to be read again


class Credentials:
    """Credentials by profile; "" is the default chain. Without `fetch` the role of this machine is
    not looked for, without `sts` none is assumed."""

    def __init__(
        self,
        fetch: Fetch | None = None,
        *,
        sts: Sts | None = None,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
        metadata_url: str = METADATA_URL,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._sts = sts
        self._environ = os.environ if environ is None else environ
        self._home = home
        self._metadata_url = metadata_url
        self._now = now
        self._held: dict[str, _Held] = {}
        self._locks: dict[str, anyio.Lock] = {}

    async def get(self, profile: str) -> Credential:
        """The credential of a profile; its source is read again from five minutes before its end,
        by one who asks, while all others go on with the old one.

        Raises:
            CredentialsError: there is none, with the places that were looked at.
        """
        held, now = self._held.get(profile), self._now()
        if held is not None and now < held.look_at:
            return held.credential
        lock = self._locks.setdefault(profile, anyio.Lock())
        if held is not None and lock.locked() and _good(held.credential, now):
            return held.credential
        async with lock:
            held, now = self._held.get(profile), self._now()
            if held is not None and now < held.look_at:
                return held.credential
            try:
                found = await self._find(profile)
            except CredentialsError:
                # A source that fails for a moment ends nothing while the old key still signs.
                if held is None or not _good(held.credential, now):
                    raise
                found = held.credential
            newer = held is None or found.secret_id != held.credential.secret_id
            self._held[profile] = _Held(found, _look_at(found, self._now(), newer=newer))
            return found

    def invalidate(self, profile: str) -> None:
        """The cloud refused this profile's credential: read it anew at the next `get`."""
        self._held.pop(profile, None)

    async def _find(self, profile: str) -> Credential:
        if profile:
            return await self._from_profile(profile)
        role = sources.role_of_environment(self._environ)
        found = await self._by_default(role)
        return await self._assumed(role, found) if role is not None else found

    async def _assumed(self, role: Role, base: Credential) -> Credential:
        if self._sts is None:
            raise CredentialsError(f"{role.place} asks for a role, and nothing here assumes one")
        return await self._sts.assume(role, base)

    async def _by_default(self, instead: Role | None) -> Credential:
        """The default chain; the role that the environment asks for stands `instead` of the one of
        a profile."""
        found = sources.from_environment(self._environ)
        if found is not None:
            return found
        name = self._default_profile()
        path = sources.profile_path(self._folder(), name)
        chosen = bool(self._environ.get("TCCLI_PROFILE"))
        if chosen or await anyio.to_thread.run_sync(path.exists):
            return await self._from_profile(name, instead)
        for shared in _SHARED:
            found = await anyio.to_thread.run_sync(sources.from_shared, self._folder() / shared)
            if found is not None:
                return found
        if self._environ.get("TKE_ROLE_ARN"):
            raise CredentialsError(
                "this pod has an identity of TKE (TKE_ROLE_ARN), which batchsnap does not use: put "
                "temporary keys into the environment, or name a profile with --profile; one that "
                'holds {"type": "cvm-role"} uses the role of the node'
            )
        if self._fetch is not None:
            found = await sources.from_role(self._fetch, self._metadata_url)
        if found is None:
            raise CredentialsError(
                "no credentials. Looked at: TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, "
                f"{path}, ~/{_SHARED[0]}, {_SHARED[1]}, and this "
                "machine's CVM role. Set one of them, or name a profile with --profile"
            )
        return found

    async def _from_profile(self, profile: str, instead: Role | None = None) -> Credential:
        home = self._folder()
        values: dict[str, Any] = await anyio.to_thread.run_sync(sources.read_profile, home, profile)
        path = sources.profile_path(home, profile)
        role = None if instead is not None else sources.role_of_profile(values, path)
        if values.get("type") == "cvm-role":
            found = await self._of_machine(path)
        else:
            found = sources.from_profile(values, path, profile, self._now())
        return await self._assumed(role, found) if role is not None else found

    async def _of_machine(self, path: Path) -> Credential:
        found = None
        if self._fetch is not None:
            found = await sources.from_role(self._fetch, self._metadata_url)
        if found is None:
            raise CredentialsError(
                f"{path} uses the role of this machine, and the metadata service names none: bind "
                "a role to the machine"
            )
        return found

    def _default_profile(self) -> str:
        return self._environ.get("TCCLI_PROFILE") or "default"

    def _folder(self) -> Path:
        return self._home if self._home is not None else _home()


class StaticCredentials:
    """One key for every profile, as a program has it; `token` with a temporary one."""

    def __init__(
        self, secret_id: str, secret_key: str, token: str = "", *, source: str = "static"
    ) -> None:
        """Raises CredentialsError for what is no key."""
        self._credential = sources.checked(secret_id, secret_key, token, source)

    async def get(self, profile: str) -> Credential:
        return self._credential

    def invalidate(self, profile: str) -> None:
        """Nothing to read anew: these keys are all there are."""

    def __repr__(self) -> str:
        return f"StaticCredentials({self._credential.source})"


def chain(endpoint: str = ENDPOINT_DEFAULT, region: str = "") -> Credentials:
    """The credentials of this machine, with roles assumed at the site of `endpoint`; `region` is
    that of the run, where it has one."""
    from batchsnap.cloud.transport import get_unsigned, post_once

    region = region or region_here()[0]
    region = region if is_region(region) else STS_REGION
    return Credentials(get_unsigned, sts=Sts(endpoint, region, post_once))


def region_here(profile: str = "") -> tuple[str, str]:
    """(region, the place that names it) for rows without one, from the environment or tccli's
    profile; empty where there is none."""
    return sources.default_region(os.environ, _home(), profile)


def _home() -> Path:
    try:
        return Path("~").expanduser()
    except RuntimeError:  # neither HOME nor an entry in passwd: nothing is kept there
        return Path("/nonexistent")


def _good(credential: Credential, now: float) -> bool:
    expires_at = credential.expires_at
    return expires_at is None or expires_at - now > sources.EXPIRED_BELOW_S


def _look_at(credential: Credential, now: float, *, newer: bool) -> float:
    """When to read the source again: before the end, and of a short life when half is over. One
    that still had the same key is read again soon."""
    if credential.expires_at is None:
        return float("inf")
    if not newer:
        return max(credential.expires_at - REFRESH_BEFORE_S, now + LOOK_AGAIN_S)
    return credential.expires_at - min(REFRESH_BEFORE_S, (credential.expires_at - now) / 2)
