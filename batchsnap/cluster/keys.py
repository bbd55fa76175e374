"""Which quotas are for this machine: those whose keys it has, and no others of that name."""

from __future__ import annotations

import orjson

from batchsnap.client.ports import CredentialSource, Say
from batchsnap.errors import CredentialsError
from batchsnap.postgres.reading import QuotaRow


class Keys:
    """Of one machine. What it lacks is said once."""

    def __init__(self, credentials: CredentialSource, say: Say) -> None:
        self._credentials = credentials
        self._say = say
        self._sources: dict[str, str] = {}  # by profile; "" where there is no key
        self._lacking: dict[str, str] = {}  # by profile: why its quotas are left to others

    @property
    def lacking(self) -> list[str]:
        """Profiles whose quotas are left to others."""
        return [f"profile {profile or 'of the default chain'}" for profile in sorted(self._lacking)]

    def fit(self, quota: QuotaRow) -> bool:
        """Whether nothing that is known so far speaks against it."""
        return not self._lacking.keys() & set(profiles_of(quota))

    async def judge(self, quota: QuotaRow) -> None:
        """Whether this machine has the keys that the quota is of."""
        for profile in profiles_of(quota):
            if profile in self._sources:
                continue
            try:
                credential = await self._credentials.get(profile)
            except CredentialsError as error:
                self._sources[profile] = ""
                self._leave(profile, str(error))
            else:
                self._sources[profile] = credential.quota_source
                if credential.quota_source != quota.source:
                    self._leave(profile, "it has other keys here than where the run was loaded")

    def _leave(self, profile: str, why: str) -> None:
        self._lacking[profile] = why
        name = profile or "of the default chain"
        self._say(f"its quotas are left to others: profile {name}: {why}")


def profiles_of(quota: QuotaRow) -> list[str]:
    """Whose rows it has."""
    profiles: list[str] = orjson.loads(quota.profiles)
    return profiles
