"""Records -> Summary: the one object that `run --json` and `status --json` print."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from batchsnap.errors import Exit, worst
from batchsnap.ledger.record import RUN_EVENTS, Record, of_later_version, unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import WORD, State
from batchsnap.settings import TIMEOUT_S

_LATE_S = 60.0  # outcomes come in the order of replies; none is later than a timeout and this
_WINDOW_MS = 1000
_WITH_SNAPSHOT = frozenset({State.ACCEPTED, State.READY, State.DELETED, State.SKIPPED})
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
    skipped: int  # the disk had a snapshot that was young enough
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
    """The most starts in any second of one quota, from starts that come nearly in order.

    In whole milliseconds, as the ledger has them: fractions of Unix seconds are too coarse to tell
    999 from 1000.
    """

    def __init__(self, late_ms: int) -> None:
        self._late_ms = late_ms
        self._most = 0
        self._early: list[int] = []  # a heap of starts that an earlier one may still follow
        self._window: deque[int] = deque()

    def add(self, start_ms: int) -> None:
        heapq.heappush(self._early, start_ms)
        while self._early[0] < start_ms - self._late_ms:
            self._pass(heapq.heappop(self._early))

    @property
    def worst(self) -> int:
        """Of all starts so far."""
        whole = _WorstSecond(0)
        whole._most, whole._window = self._most, self._window.copy()
        for start in sorted(self._early):
            whole._pass(start)
        return whole._most

    def _pass(self, start_ms: int) -> None:
        if self._window and start_ms < self._window[-1]:
            self._window.clear()  # the wall clock was set back
        self._window.append(start_ms)
        while start_ms - self._window[0] >= _WINDOW_MS:
            self._window.popleft()
        self._most = max(self._most, len(self._window))


class Summing:
    """Folds records, in ledger order, into what a Summary needs."""

    def __init__(self, whole: Fold | None = None) -> None:
        """`whole` is the fold of all records that will be added, where there is one: rows are
        kept once then."""
        self.fold = Fold() if whole is None else whole
        self._own = whole is None
        self._requests = 0
        self._throttled = 0
        self._doubled: set[str] = set()
        self._why: dict[str, tuple[str, str]] = {}  # (code, message) of each row's last outcome
        self._halted: dict[tuple[str, ...], dict[str, str]] = {}
        self._starts: dict[tuple[str | None, ...], _WorstSecond] = {}
        self._elapsed = 0.0
        self._life_began = 0.0
        self._last = ""

    def add(self, record: Record) -> None:
        """Fold one record in; raises as `Fold.apply` does."""
        if self._own:
            self.fold.apply(record)
        event = record["event"]
        if event in RUN_EVENTS:
            self._add_run(record)
            return
        if of_later_version(record):
            return
        self._last = record["at"]
        if "code" in record:
            self._why[record["key"]] = record["code"], record.get("message", "")
        elif not record.get("final"):  # the last question takes no reason away
            self._why.pop(record["key"], None)
        if "sent_at" in record:
            self._requests += 1
            self._throttled += record.get("verdict") == "THROTTLED"
            shared = "{region}" not in self.fold.header.get("endpoint", "")
            quota = (record["profile"], None if shared else record["region"])
            if quota not in self._starts:
                late_s = self.fold.settings.get("timeout_s", TIMEOUT_S) + _LATE_S
                self._starts[quota] = _WorstSecond(round(late_s * 1000))
            self._starts[quota].add(round(unstamp(record["sent_at"]) * 1000))
        if event == "doubled":
            self._doubled.add(record["key"])
        elif event == "halted":
            self._add_halt(record)

    def _add_run(self, record: Record) -> None:
        if record["event"] == "finished":
            self._last = record["at"]
            return
        self._elapsed += self._life_s
        self._halted.clear()
        self._life_began = unstamp(record["at"])
        self._last = record["at"]

    def _add_halt(self, record: Record) -> None:
        scope = record.get("scope", "region")
        where = {"profile": record["profile"] or ""}
        if scope == "region":
            where["region"] = record["region"] or ""
        why = {"code": record.get("code", ""), "message": record.get("message", "")}
        halt = {"scope": scope, **where, **why}
        self._halted.setdefault((scope, *where.values()), halt)

    @property
    def _life_s(self) -> float:
        """What the latest process has lived so far."""
        return max(0.0, unstamp(self._last) - self._life_began) if self._last else 0.0

    def outcomes(self) -> Iterator[tuple[str, str, str]]:
        """(word, code, message) of every row that has no snapshot and was given a reason."""
        for key, (code, message) in self._why.items():
            state = self.fold.standing(key).state
            if WORD[state] != "pending" and state not in _WITH_SNAPSHOT:
                yield WORD[state], code, message

    @property
    def owed(self) -> bool:
        """Whether a row that was sent again still waits for its last question."""
        return self.fold.owed > 0

    def close(self) -> Summary:
        """The Summary of all that was added so far."""
        fold, elapsed_s = self.fold, self._elapsed + self._life_s
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
            worst_second=max((w.worst for w in self._starts.values()), default=0),
            elapsed_s=round(elapsed_s, 3),
            rate_per_s=round(made / elapsed_s, 2) if elapsed_s else 0.0,
            halted=tuple(self._halted.values()),
        )


def summing(records: Iterable[Record], whole: Fold | None = None) -> Summing:
    """All records folded; `whole` as in Summing."""
    result = Summing(whole)
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
