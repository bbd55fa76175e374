"""Which quotas are for this machine: those whose keys it has, and no others of that name.

What a key is of, the loader knew; what this machine's key of that name is of, the cloud is asked
before a quota is first claimed for it, while its lock keeps all others out. A machine with another
account's key, or with one that is refused, would halt what the others can make.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import anyio

from batchsnap.client import questions
from batchsnap.client.account import Reach
from batchsnap.client.ports import CredentialSource, Say
from batchsnap.cluster.share import Share
from batchsnap.errors import CredentialsError
from batchsnap.postgres.reading import QuotaRow
from batchsnap.settings import counted

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
        self._lacking: set[str] = set()  # profiles whose quotas are left to others
        self._unseen: dict[int, QuotaRow] = {}  # quotas of which it sees no disk
        self._known: set[str] = set()  # sources that were asked about, and are the run's
        self._unanswered: Counter[str] = Counter()  # by source

    @property
    def lacking(self) -> list[str]:
        """Whose quotas are left to others."""
        unseen = [q for q in self._unseen.values() if not self.fit(q)]
        missing = self._lacking.union(*(quota.profile_names for quota in unseen))
        return [named(profile) for profile in sorted(missing)]

    def fit(self, quota: QuotaRow) -> bool:
        """Whether nothing that is known so far speaks against it. That no disk of a quota is seen
        does no more where others of the same account are: its disks are gone then."""
        unseen = quota.id in self._unseen and quota.source not in self._known
        return not unseen and not self._lacking & set(quota.profile_names)

    async def judge(self, quota: QuotaRow) -> None:
        """Whether this machine has the keys that the quota is of."""
        for profile in quota.profile_names:
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
        quota = share.quota
        if quota.source in self._known:
            return self.fit(quota)
        seen = _Seen(None)
        with anyio.move_on_after(_ASKED_FOR_S):
            seen = await _look(share, reach)
        if seen.ours is None:
            self._unanswered[quota.source] += 1
            if self._unanswered[quota.source] == 1:
                names = ", ".join(map(named, quota.profile_names))
                why = seen.why or f"no answer within {_ASKED_FOR_S:.0f} s"
                self._say(f"asks whose disks {names} sees before it claims for it: {why}")
            if self._unanswered[quota.source] < _ASKS:
                return False
            seen = _Seen(True)  # whoever can't be asked refuses nobody: the engine meets it
        if seen.ours and seen.sure:
            self._known.add(quota.source)
        if not seen.ours and seen.sure:
            for profile in quota.profile_names:
                self._leave(profile, seen.why)
        elif not seen.ours:
            self._unseen[quota.id] = quota
            names = ", ".join(map(named, quota.profile_names))
            self._say(f"a quota is left to others: {names} at {quota.host}: {seen.why}")
        return bool(seen.ours)

    def _leave(self, profile: str, why: str) -> None:
        self._lacking.add(profile)
        self._say(f"its quotas are left to others: {named(profile)}: {why}")


def named(profile: str) -> str:
    """For people."""
    return f"profile {profile or 'of the default chain'}"


class _Seen(NamedTuple):
    """What the cloud says of a key."""

    ours: bool | None  # None: no answer came
    sure: bool = True  # of all its quotas, else of this one
    why: str = ""


async def _look(share: Share, reach: Reach) -> _Seen:
    """Whether this machine's key is for the quota."""
    asked = 0
    for queue in share.intake.queues.values():
        ids = [request.disk_id for request in queue.coming(_DISKS - asked)]
        if not ids:
            continue
        asked += len(ids)
        answer = await questions.disks(reach(queue.profile, queue.region), queue.region, ids)
        if answer.facts:
            return _Seen(True)
        if isinstance(answer, questions.Part):
            code = answer.why.code
            what = f"{code}: {answer.why.message}"
            if not answer.why.denied:
                return _Seen(None, why=what)
            refused = code.startswith(_OF_KEYS) and code != _OF_POLICY
            return _Seen(not refused, why=what)
    if share.quota.source.startswith("key:"):  # known by its id: it is that of who loaded the run
        return _Seen(True, sure=asked > 0)
    what = f"it sees none of {counted(asked, 'disk')} of the run, so it may be another account's"
    return _Seen(not asked, sure=False, why=what)
