"""Is it one row that can't be done, or its whole account or region? Decided from keys alone.

A code such as "denied" or "quota spent" may mean the row's disk or everything of its scope. Nobody
can tell from one row, so its row becomes a *suspect*: not executed, held back. What is accepted
after it clears the scope; five different suspects with nothing accepted between them make the
scope rest while three rows from elsewhere in the worklist try it, the *probes*. One of them
accepted: the suspects are refused and the rest goes on. None: the scope is halted, and the suspects
keep their chance in another life.

Starts are numbered, and an acceptance speaks for the suspects that left before it: replies come in
any order, and a policy that is revoked in mid-run must not refuse all that is left, a row at a
time. For the same reason only what this process saw accepted counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

SUSPECTS_MAX = 5
"""So many suspects of different rows, with nothing accepted between them, put a scope in doubt."""
HEADS_MAX = 10
"""So many first rows of a region that it refuses before anything else shows that it is well."""
PROBES = 3


class Next(StrEnum):
    """What follows for the suspects of a scope."""

    NOTHING = "nothing"
    AGAIN = "again"  # the scope is well: each of them is sent once more, and what it meets counts
    REFUSE = "refuse"  # it was them
    LOOK = "look"  # the scope rests: ask whether the disks of the coming rows are seen at all
    PROBE = "probe"  # the scope rests: try rows from elsewhere
    HALT = "halt"  # it was the scope


class Move(NamedTuple):
    next: Next
    keys: tuple[str, ...] = ()  # the suspects that are meant


_STAY = Move(Next.NOTHING)


@dataclass(slots=True)
class Suspicion:
    """What is known of one scope in this process.

    `heads`: for refusals that stand by themselves once anything else shows that the scope is well;
    until then they may mean a wrong account, region or manifest.
    """

    heads: bool = False
    well: bool = False  # something was accepted here
    resting: bool = False  # nothing but probes is sent
    looking: bool = False  # a question is out, until `looked`
    _latest: int = 0  # the number of the last start that was accepted
    _suspects: dict[str, int] = field(default_factory=dict)  # with the numbers of their starts
    _unseen: bool = True  # all of them were refused as not found
    _probes: set[str] = field(default_factory=set)  # chosen since it rests
    _out: set[str] = field(default_factory=set)  # those of them without an answer
    _denied: int = 0  # probes that became suspects

    @property
    def limit(self) -> int:
        return HEADS_MAX if self.heads else SUSPECTS_MAX

    @property
    def wants_probe(self) -> bool:
        """Whether one more row may be sent while the scope rests."""
        return self.resting and not self.looking and self._denied + len(self._out) < PROBES

    def started(self, key: str) -> None:
        """A row is sent; while the scope rests it is a probe."""
        if self.resting:
            self._probes.add(key)
            self._out.add(key)

    def suspect(self, key: str, number: int, *, unseen: bool) -> Move:
        """A row met a code that may mean the scope. `unseen`: its disk was not found."""
        if number < self._latest:
            self.nothing(key)
            return Move(Next.AGAIN, (key,))  # what left after it was accepted
        self._suspects[key] = number
        self._unseen = self._unseen and unseen
        if key in self._out:
            self._out.discard(key)
            self._denied += 1
        if not self.resting:
            if len(self._suspects) < self.limit:
                return _STAY
            self.resting = True
            self.looking = self.heads and self._unseen
            return Move(Next.LOOK if self.looking else Next.PROBE)
        return self._all(Next.HALT) if self._denied >= PROBES else _STAY

    def accepted(self, key: str, number: int) -> Move:
        """A row was accepted: suspects that had left before it are cleared."""
        self.well = True
        self._latest = max(self._latest, number)
        if not self._suspects:
            return _STAY
        self._out.discard(key)
        cleared = tuple(k for k, started in self._suspects.items() if started < number)
        if not cleared:
            return _STAY
        refused = self.heads or (self.resting and key in self._probes)
        for k in cleared:
            del self._suspects[k]
        if len(self._suspects) < self.limit:
            self._rise()
        return Move(Next.REFUSE if refused else Next.AGAIN, cleared)

    def nothing(self, key: str) -> None:
        """A row came back with what says nothing of the scope, or without being sent."""
        self._out.discard(key)

    def looked(self, seen: bool | None) -> Move:
        """Whether a disk of the coming rows is seen; None where the question has no answer."""
        if not self.looking:
            return _STAY
        self.looking = False
        if seen is None:
            return Move(Next.PROBE)
        if not seen:
            return self._all(Next.HALT)
        self.well = True
        return self._all(Next.REFUSE)

    def ended(self) -> Move:
        """No other row of the scope is left that could tell."""
        if not self._suspects or self.looking:
            return _STAY
        if self.heads:  # every row was tried, and each has its own answer
            return self._all(Next.REFUSE)
        return self._all(Next.AGAIN if self.well and not self.resting else Next.HALT)

    def _all(self, following: Next) -> Move:
        """All suspects go the same way, and the scope begins anew."""
        keys = tuple(self._suspects)
        self._suspects.clear()
        self._rise()
        return Move(following, keys) if keys else _STAY

    def _rise(self) -> None:
        """The scope rests no more."""
        self.resting = self.looking = False
        self._unseen = True
        self._denied = 0
        self._probes.clear()
        self._out.clear()
