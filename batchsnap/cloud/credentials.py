"""Which credential a profile has, and its refresh before it expires. Never says a value.

Order without a profile: environment, tccli's profile, the SDKs' shared file, the machine's role.
A named profile is tccli's of that name, whatever the environment holds (as tccli does it).
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
from batchsnap.cloud.sources import METADATA_URL, Fetch
from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import CredentialsError

REFRESH_BEFORE_S = 300.0
LOOK_AGAIN_S = 10.0  # how often a source is read that has nothing newer yet
_SHARED = (Path(".tencentcloud/credentials"), Path("/etc/tencentcloud/credentials"))


class _Held(NamedTuple):
    credential: Credential
    look_at: float  # Unix seconds; when its source is to be read again


class Credentials:
    """Credentials by profile; "" is the default chain. Without `fetch` no role is looked for."""

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
        self._held: dict[str, _Held] = {}
        self._lock = anyio.Lock()

    async def get(self, profile: str) -> Credential:
        """The credential of a profile; its source is read again from five minutes before its end.

        Raises:
            CredentialsError: there is none, with the places that were looked at.
        """
        held = self._held.get(profile)
        if held is not None and self._now() < held.look_at:
            return held.credential
        async with self._lock:
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
            self._held[profile] = _Held(found, _look_at(found, now))
            return found

    def invalidate(self, profile: str) -> None:
        """The cloud refused this profile's credential: read it anew at the next `get`."""
        self._held.pop(profile, None)

    async def _find(self, profile: str) -> Credential:
        if profile:
            return await self._from_profile(profile)
        found = sources.from_environment(self._environ)
        if found is not None:
            return found
        name = self._default_profile()
        path = sources.profile_path(self._folder(), name)
        chosen = bool(self._environ.get("TCCLI_PROFILE"))
        if chosen or await anyio.to_thread.run_sync(path.exists):
            return await self._from_profile(name)
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

    async def _from_profile(self, profile: str) -> Credential:
        home = self._folder()
        values: dict[str, Any] = await anyio.to_thread.run_sync(sources.read_profile, home, profile)
        path = sources.profile_path(home, profile)
        if values.get("type") != "cvm-role" or values.get("role-arn"):
            return sources.from_profile(values, path, profile, self._now())
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
        if self._home is not None:
            return self._home
        try:
            return Path("~").expanduser()
        except RuntimeError:  # neither HOME nor an entry in passwd: nothing is kept there
            return Path("/nonexistent")


def _good(credential: Credential, now: float) -> bool:
    expires_at = credential.expires_at
    return expires_at is None or expires_at - now > sources.EXPIRED_BELOW_S


def _look_at(credential: Credential, now: float) -> float:
    if credential.expires_at is None:
        return float("inf")
    return max(credential.expires_at - REFRESH_BEFORE_S, now + LOOK_AGAIN_S)
