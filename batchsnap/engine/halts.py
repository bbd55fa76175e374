"""Which regions and accounts are stopped, and the evidence that it takes to stop one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from batchsnap.model import Ruling, Scope, Verdict

PROBED = frozenset({"InsufficientSnapshotQuota", "ResourceInsufficient", "LimitExceeded"})
"""A limit of one disk is documented beside the region's, so these codes (and theirs) stop a region
only when a second row meets them."""
SAME_FIRST = 10
"""So many first rows of a region, all refused with one code, mean a wrong account or region."""


@dataclass(slots=True)
class _Evidence:
    limit_hits: int = 0
    first_code: str = ""
    first_count: int = 0
    settled: bool = False  # something else than that one refusal was seen


@dataclass(slots=True)
class Halts:
    """The stopped scopes of a run, with the ruling that stopped each."""

    say: Callable[[str], None]
    _accounts: dict[str, Ruling] = field(default_factory=dict)
    _regions: dict[tuple[str, str], Ruling] = field(default_factory=dict)
    _evidence: dict[tuple[str, str], _Evidence] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        return bool(self._accounts or self._regions)

    def of(self, profile: str, region: str) -> Ruling | None:
        """The ruling that stopped this scope, or None."""
        return self._accounts.get(profile) or self._regions.get((profile, region))

    def weigh(self, profile: str, region: str, ruling: Ruling) -> Ruling | None:
        """Note a ruling; the one to halt by, where it is confirmed or enough of its like came."""
        evidence = self._evidence.setdefault((profile, region), _Evidence())
        if ruling.verdict is Verdict.HALT:
            if ruling.code.partition(".")[0] in PROBED:
                evidence.limit_hits += 1
                return ruling if evidence.limit_hits > 1 else None
            return ruling
        if ruling.verdict is Verdict.ACCEPTED:
            evidence.limit_hits = 0
            evidence.settled = True
        elif ruling.verdict is Verdict.REJECTED and not evidence.settled:
            evidence.first_code = evidence.first_code or ruling.code
            evidence.settled = ruling.code != evidence.first_code
            evidence.first_count += 1
            if not evidence.settled and evidence.first_count >= SAME_FIRST:
                message = f"the first {SAME_FIRST} rows were all refused with {ruling.code}"
                halting = ruling._replace(message=message, scope=Scope.REGION)
                self.halt(profile, region, halting)
                return halting
        return None

    def halt(self, profile: str, region: str, ruling: Ruling) -> None:
        """Stop the ruling's scope."""
        if self.of(profile, region) is not None:
            return
        if ruling.scope is Scope.ACCOUNT:
            self._accounts[profile] = ruling
            where = f"profile {profile}" if profile else "the account"
        else:
            self._regions[profile, region] = ruling
            where = f"region {region}"
        self.say(f"halted {where}: {ruling.code}: {ruling.message}; its rows stay pending")
