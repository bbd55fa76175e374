"""Which quotas are for this machine: those whose keys it has, and no others of that name.

What a key is of, the loader knew; what this machine's key of that name is of, the cloud is asked
before a quota is first claimed for it, while its lock keeps all others out. A machine with another
account's key, or with one that is refused, would halt what the others can make.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import anyio
import orjson

from batchsnap.client import questions
from batchsnap.client.ports import CredentialSource, Say
from batchsnap.cluster.share import Share
from batchsnap.errors import CredentialsError
from batchsnap.postgres.reading import QuotaRow
from batchsnap.settling.makers import Reach

_DISKS = 100
_ASKS = 3  # so often, where no answer comes
_ASKED_FOR_S = 10.0
_OF_KEYS = ("AuthFailure", "UnauthorizedOperation.", "fault.")  # codes: no call of ours is heard
_OF_POLICY = "AuthFailure.UnauthorizedOperation"


class Keys:
    """Of one machine. What it lacks is said once."""

    def __init__(self, credentials: CredentialSource, say: Say) -> None:
        self._credentials = credentials
        self._say = say
        self._sources: dict[str, str] = {}  # by profile; "" where there is no key
        self._lacking: dict[str, str] = {}  # by profile: why its quotas are left to others
        self._known: set[str] = set()  # sources that were asked about
        self._unanswered: Counter[str] = Counter()  # by source

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

    async def admitted(self, shares: Sequence[Share], reach: Reach) -> list[Share]:
        """Those of the quotas, whose locks this process has, that may be claimed."""
        admitted: list[Share] = []

        async def ask(share: Share) -> None:
            if await self._admits(share, reach):
                admitted.append(share)

        async with anyio.create_task_group() as tasks:
            for share in shares:
                tasks.start_soon(ask, share)
        return admitted

    async def _admits(self, share: Share, reach: Reach) -> bool:
        source = share.quota.source
        if source in self._known:
            return self.fit(share.quota)
        why: str | None = None  # not known
        with anyio.move_on_after(_ASKED_FOR_S):
            why = await _flaw(share, reach)
        if why is None:
            self._unanswered[source] += 1
            if self._unanswered[source] < _ASKS:
                return False
            why = ""  # whoever can't be asked refuses nobody: what comes of it is the engine's
        self._known.add(source)
        if why:
            for profile in profiles_of(share.quota):
                self._leave(profile, why)
        return not why

    def _leave(self, profile: str, why: str) -> None:
        self._lacking[profile] = why
        name = profile or "of the default chain"
        self._say(f"its quotas are left to others: profile {name}: {why}")


def profiles_of(quota: QuotaRow) -> list[str]:
    """Whose rows it has."""
    profiles: list[str] = orjson.loads(quota.profiles)
    return profiles


async def _flaw(share: Share, reach: Reach) -> str | None:
    """Why this machine's key is not for the quota, "" where it is, None where no answer came."""
    asked = 0
    for queue in share.intake.queues.values():
        ids = [request.disk_id for request in queue.coming(_DISKS - asked)]
        if not ids:
            continue
        asked += len(ids)
        answer = await questions.disks(reach(queue.profile, queue.region), queue.region, ids)
        if answer.facts:
            return ""
        if isinstance(answer, questions.Part):
            code, why = answer.why.code, f"{answer.why.code}: {answer.why.message}"
            if not answer.why.denied:
                return None
            return why if code.startswith(_OF_KEYS) and code != _OF_POLICY else ""
    if not asked or share.quota.source.startswith("key:"):
        return ""  # a permanent key is known by its id: it is the one that the run was loaded with
    return f"it sees none of {asked} disks of the run, so it may be another account's"
