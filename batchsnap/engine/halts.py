"""Which regions and accounts are stopped, and the rows that wait to know whether it is them.

`batchsnap.suspicion` decides; this file knows which scopes a row is in, and holds its suspects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import anyio

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.codes import NOT_FOUND
from batchsnap.engine.queue import Queue
from batchsnap.model import Ruling, Scope, Verdict
from batchsnap.settling.makers import Maker
from batchsnap.settling.row import Row
from batchsnap.suspicion import Move, Next, Suspicion

_LOOK_AT = 100  # disks, as many as a question may name


class Fate(StrEnum):
    """What becomes of a suspect."""

    AGAIN = "again"  # it is sent once more
    REFUSED = "refused"  # its code was meant for it alone
    HALTED = "halted"  # its scope is halted, it keeps its chance


class Held:
    """A suspect, until other rows have told what its code means."""

    def __init__(self, row: Row, ruling: Ruling) -> None:
        self.row = row
        self.ruling = ruling
        self._fate = Fate.HALTED
        self._told = anyio.Event()

    def tell(self, fate: Fate) -> None:
        self._fate = fate
        self._told.set()

    async def fate(self) -> Fate:
        await self._told.wait()
        return self._fate


class Halting(NamedTuple):
    """A scope was stopped: to be recorded, with the row whose answer did it."""

    row: Row
    ruling: Ruling


@dataclass(slots=True)
class _Watch:
    """One scope under suspicion."""

    where: str
    suspicion: Suspicion
    queues: list[Queue]
    held: dict[str, Held] = field(default_factory=dict)


class Halts:
    """The stopped scopes of a run, with the ruling that stopped each, and all suspects."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._accounts: dict[str, Ruling] = {}
        self._regions: dict[tuple[str, str], Ruling] = {}
        self._queues: list[Queue] = []
        self._wakes: list[Callable[[], None]] = []
        self._watches: dict[tuple[str, str, str], _Watch] = {}
        self._of_queue: dict[Queue, tuple[_Watch, ...]] = {}
        self._news: list[Halting] = []
        self._number = 0  # of the latest start

    @property
    def any(self) -> bool:
        return bool(self._accounts or self._regions)

    def of(self, profile: str, region: str) -> Ruling | None:
        """The ruling that stopped this scope, or None."""
        return self._accounts.get(profile) or self._regions.get((profile, region))

    def join(self, queues: Iterable[Queue], wake: Callable[[], None]) -> None:
        """A dispatcher with its queues; `wake` is called when more, or less, may be sent there."""
        self._queues += queues
        self._wakes.append(wake)

    def leave(self, queues: Iterable[Queue]) -> None:
        """A dispatcher is at its end."""
        for queue in queues:
            queue.closed = True
        self._changed()

    def news(self) -> list[Halting]:
        """What was stopped since this was last asked."""
        news, self._news = self._news, []
        return news

    def suspects(self, profile: str, region: str, ruling: Ruling) -> bool:
        """Whether the ruling makes its row a suspect: it may mean more than the row."""
        if ruling.verdict is Verdict.SUSPECT:
            return True
        if ruling.verdict is not Verdict.REJECTED or ruling.scope is None:
            return False
        watch = self._watches.get(("heads", profile, region))
        return watch is None or not watch.suspicion.well

    def rests(self, queue: Queue) -> bool:
        """Whether nothing but probes is sent of these rows."""
        return any(watch.suspicion.resting for watch in self._of(queue))

    def wants_probe(self, queue: Queue) -> bool:
        """Whether one more probe may be sent, where the queue rests."""
        resting = [w.suspicion for w in self._of(queue) if w.suspicion.resting]
        return bool(resting) and all(suspicion.wants_probe for suspicion in resting)

    def started(self, queue: Queue, row: Row) -> None:
        """A row is sent."""
        self._number += 1
        row.number = self._number
        for watch in self._of(queue):
            watch.suspicion.started(row.key)

    def hold(self, queue: Queue, row: Row, ruling: Ruling) -> tuple[Held, Next]:
        """Take a suspect; what follows for its scope."""
        held = Held(row, ruling)
        if self.of(queue.profile, queue.region) is not None:
            held.tell(Fate.HALTED)
            return held, Next.NOTHING
        mine = self._watch(queue, ruling)
        for watch in self._of(queue):
            if watch is not mine:
                watch.suspicion.nothing(row.key)
        mine.held[row.key] = held
        move = mine.suspicion.suspect(row.key, row.number, unseen=ruling.code in NOT_FOUND)
        if move.next in {Next.PROBE, Next.LOOK}:
            self.say(
                f"{mine.where} rests: {len(mine.held)} rows met {ruling.code} with none accepted "
                "between them; rows from elsewhere will tell whether it is them"
            )
        self._carry_out(mine, move)
        return held, move.next

    def heard(self, queue: Queue, row: Row, ruling: Ruling | None) -> None:
        """A row came back with what makes it no suspect; None where nothing was sent."""
        verdict = ruling.verdict if ruling is not None else None
        if verdict is Verdict.ACCEPTED:
            self.accepted(queue, row)
            return
        of_its_disk = verdict is Verdict.REJECTED and ruling is not None and ruling.scope is None
        for watch in self._of(queue):
            if watch.suspicion.heads and (verdict is Verdict.BUSY or of_its_disk):
                # The region knows this disk.
                self._carry_out(watch, watch.suspicion.accepted(row.key, row.number))
            else:
                watch.suspicion.nothing(row.key)

    def accepted(self, queue: Queue, row: Row) -> None:
        """A row that this process sent was accepted."""
        for watch in self._of(queue):
            self._carry_out(watch, watch.suspicion.accepted(row.key, row.number))

    def looked(self, queue: Queue, seen: bool | None, asked: int) -> None:
        """The answer to what a LOOK asks, about so many disks; None where there is none."""
        watch = self._at("heads", queue)
        why = f"of the next {asked} disks this credential sees none there"
        self._carry_out(watch, watch.suspicion.looked(seen), why)

    def ended(self) -> bool:
        """Tell suspects of scopes in which nothing else is left; whether there were any."""
        moves = [
            (watch, watch.suspicion.ended())
            for watch in self._watches.values()
            if watch.held and all(self._quiet(queue) for queue in watch.queues)
        ]
        for watch, move in moves:
            self._carry_out(watch, move)
        return any(move.next is not Next.NOTHING for _, move in moves)

    def _quiet(self, queue: Queue) -> bool:
        halted = self.of(queue.profile, queue.region) is not None
        return queue.quiet() or (halted and not queue.out)

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
        self.say(
            f"halted {where}: {ruling.code}: {ruling.message}; what it has not made waits for the "
            "next run"
        )
        for watch in self._watches.values():
            if all(self.of(s.profile, s.region) is not None for s in watch.queues):
                while watch.held:
                    watch.held.popitem()[1].tell(Fate.HALTED)
        self._changed()

    def _carry_out(self, watch: _Watch, move: Move, why: str = "") -> None:
        if move.next is Next.NOTHING:
            return
        if move.next is Next.HALT:
            held = watch.held[move.keys[-1]]
            why = why or "none was accepted between them"
            message = f"{held.ruling.message} ({len(move.keys)} rows met this, and {why})"
            ruling = held.ruling._replace(message=message)
            self._news.append(Halting(held.row, ruling))
            queue = watch.queues[0]
            self.halt(queue.profile, queue.region, ruling)
        elif move.keys:
            fate = Fate.AGAIN if move.next is Next.AGAIN else Fate.REFUSED
            for key in move.keys:
                watch.held.pop(key).tell(fate)
        self._changed()

    def _of(self, queue: Queue) -> tuple[_Watch, ...]:
        """The scopes that the queue is in: its account, its region, and that region's heads."""
        watches = self._of_queue.get(queue)
        if watches is None:
            kinds = ("account", "region", "heads")
            watches = self._of_queue[queue] = tuple(self._at(kind, queue) for kind in kinds)
        return watches

    def _watch(self, queue: Queue, ruling: Ruling) -> _Watch:
        if ruling.verdict is Verdict.REJECTED:
            return self._at("heads", queue)
        return self._at("account" if ruling.scope is Scope.ACCOUNT else "region", queue)

    def _at(self, kind: str, queue: Queue) -> _Watch:
        region = "" if kind == "account" else queue.region
        name = kind, queue.profile, region
        watch = self._watches.get(name)
        if watch is None:
            whose = f"profile {queue.profile}" if queue.profile else "the account"
            queues = [
                s for s in self._queues if s.profile == queue.profile and region in ("", s.region)
            ]
            watch = self._watches[name] = _Watch(
                f"region {region}" if region else whose,
                Suspicion(heads=kind == "heads"),
                queues or [queue],
            )
        return watch

    def _changed(self) -> None:
        for wake in self._wakes:
            wake()


async def disk_remark(account: Account, row: Row) -> str:
    """What the disk itself says of a quota: it words the remedy and decides nothing. The quota of a
    copy is another region's."""
    if row.request.source_id:
        return ""
    answer = await questions.disks(account, row.request.region, [row.disk_id])
    counts = [fact.snapshot_count for fact in answer.facts if fact.disk_id == row.disk_id]
    return f"this disk holds {counts[0]} snapshots" if counts else ""


async def coming_seen(account: Account, queue: Queue, maker: Maker) -> tuple[bool | None, int]:
    """The first rows of a region were not found: does this credential see any of the next? None
    where that is not known; and of how many."""
    coming = queue.coming(_LOOK_AT)
    if not coming:
        return None, 0
    return await maker.seen(account, queue.region, coming), len(coming)
