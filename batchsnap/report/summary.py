"""Records -> Summary: the one object that `run --json` and `status --json` print."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from batchsnap.errors import Exit, worst
from batchsnap.ledger.record import RUN_EVENTS, Record, unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import WORD, State

_LATE_S = 120.0  # outcomes come in the order of replies; none is later than this
_WINDOW_S = 1.0
_MADE = frozenset({State.ACCEPTED, State.READY, State.VANISHED, State.DELETING, State.DELETED})


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a run. The states, `pending` to `vanished`, add up to `rows`."""

    run_id: str
    rows: int  # of the newest manifest
    pending: int
    deferred: int
    in_doubt: int
    accepted: int  # without the ready ones
    ready: int
    rejected: int
    gave_up: int
    deleted: int
    vanished: int
    doubled: int  # rows with a second snapshot; counted beside their state
    requests: int  # CreateSnapshot calls sent
    throttled: int
    worst_second: int  # most starts in any one second of one quota
    elapsed_s: float  # of all process lives
    rate_per_s: float  # snapshots made in `elapsed_s`
    halted: tuple[dict[str, str], ...]  # scopes that the latest process stopped

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "halted": list(self.halted)}


class _WorstSecond:
    """The most starts in any second of one quota, from starts that come nearly in order."""

    def __init__(self) -> None:
        self.worst = 0
        self._early: list[float] = []
        self._window: deque[float] = deque()

    def add(self, start: float) -> None:
        heapq.heappush(self._early, start)
        while self._early and self._early[0] < start - _LATE_S:
            self._pass(heapq.heappop(self._early))

    def close(self) -> int:
        while self._early:
            self._pass(heapq.heappop(self._early))
        return self.worst

    def _pass(self, start: float) -> None:
        self._window.append(start)
        while start - self._window[0] >= _WINDOW_S:
            self._window.popleft()
        self.worst = max(self.worst, len(self._window))


class Summing:
    """Folds records, in ledger order, into what a Summary needs."""

    def __init__(self) -> None:
        self.fold = Fold()
        self._requests = 0
        self._throttled = 0
        self._doubled: set[str] = set()
        self._halted: dict[tuple[str, ...], dict[str, str]] = {}
        self._starts: dict[tuple[str | None, ...], _WorstSecond] = {}
        self._elapsed = 0.0
        self._life_began = 0.0
        self._last = ""

    def add(self, record: Record) -> None:
        """Fold one record in; raises as `Fold.apply` does."""
        self.fold.apply(record)
        event = record["event"]
        if event in RUN_EVENTS:
            self._add_run(record)
            return
        self._last = record["at"]
        if "sent_at" in record:
            self._requests += 1
            self._throttled += record.get("verdict") == "THROTTLED"
            shared = "{region}" not in self.fold.header.get("endpoint", "")
            quota = (record["profile"], None if shared else record["region"])
            if quota not in self._starts:
                self._starts[quota] = _WorstSecond()
            self._starts[quota].add(unstamp(record["sent_at"]))
        if event == "doubled":
            self._doubled.add(record["key"])
        elif event == "halted":
            self._add_halt(record)

    def _add_run(self, record: Record) -> None:
        if record["event"] == "finished":
            self._last = record["at"]
            return
        self._end_life()
        self._halted.clear()
        self._life_began = unstamp(record["at"])
        self._last = record["at"]

    def _add_halt(self, record: Record) -> None:
        scope = record.get("scope", "region")
        where = {"profile": record["profile"] or ""}
        if scope == "region":
            where["region"] = record["region"] or ""
        halt = {"scope": scope, **where, "code": record["code"], "message": record["message"]}
        self._halted.setdefault((scope, *where.values()), halt)

    def _end_life(self) -> None:
        if self._life_began:
            self._elapsed += max(0.0, unstamp(self._last) - self._life_began)
            self._life_began = 0.0

    def outcomes(self) -> Iterator[tuple[str, str, str]]:
        """(word, code, message) of every row that has no snapshot and was given a reason."""
        for key, record in self.fold.latest.items():
            word = WORD[self.fold.standing(key).state]
            if "code" in record and word != "pending":
                yield word, record["code"], record.get("message", "")

    @property
    def owed(self) -> bool:
        """Whether a row that was sent again still waits for its last question."""
        return self.fold.owed > 0

    def close(self) -> Summary:
        """The Summary of all that was added."""
        self._end_life()
        fold = self.fold
        counts = fold.counts
        made = sum(counts[state] for state in _MADE)
        for key in fold.gone & fold.places.keys():
            counts[fold.places[key].standing.state] -= 1
        words = dict.fromkeys(set(WORD.values()), 0)
        for state, number in counts.items():
            words[WORD[state]] += number
        rows = int(fold.manifest.get("rows", 0))
        words["pending"] += rows - sum(words.values())
        return Summary(
            run_id=fold.header.get("run_id", ""),
            rows=rows,
            **words,
            doubled=len(self._doubled),
            requests=self._requests,
            throttled=self._throttled,
            worst_second=max((w.close() for w in self._starts.values()), default=0),
            elapsed_s=round(self._elapsed, 3),
            rate_per_s=round(made / self._elapsed, 2) if self._elapsed else 0.0,
            halted=tuple(self._halted.values()),
        )


def summing(records: Iterable[Record]) -> Summing:
    """All records folded."""
    result = Summing()
    for record in records:
        result.add(record)
    return result


def exit_of(summary: Summary, *, owed: bool, stop: Exit | None, halted: bool, wait: bool) -> Exit:
    """The exit code of a run that ends with this summary."""
    codes = [stop] if stop is not None else []
    if halted:
        codes.append(Exit.HALTED)
    if summary.pending or summary.deferred or summary.in_doubt or owed:
        codes.append(Exit.UNFINISHED)
    if wait and summary.accepted:
        codes.append(Exit.UNFINISHED)
    if summary.rejected or summary.gave_up or summary.deleted or summary.vanished:
        codes.append(Exit.SOME_FAILED)
    if summary.doubled:
        codes.append(Exit.SOME_FAILED)
    return worst(codes)
