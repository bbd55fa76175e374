"""How a run is doing at one moment, as its fold tells, and why rows wait: for the plain line, the
view and status. What goes wrong for the first time is told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from batchsnap.cloud.faults import hint
from batchsnap.ledger.record import Record, unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import WORD, Event, State
from batchsnap.model import Verdict
from batchsnap.owners.quotas import QuotaLine
from batchsnap.settings import (
    SETTLE_FOR_MIN_S,
    SETTLE_SCHEDULE_S,
    SIGNATURE_DEAD_S,
    Settings,
    counted,
    duration_text,
)

QUIET_S = 120.0  # a run that only waits writes nothing for a while; longer is worth a word
_DOUBTS_SHOWN = 3
_DOUBTED = frozenset(state for state, word in WORD.items() if word == WORD[State.IN_DOUBT])
_LOOKED_AT = 500  # waiting rows: a view is drawn twice a second
_KINDS_MOST = 50  # that are told of
_TOLD = frozenset({Event.DEFERRED, Event.IN_DOUBT, Event.REJECTED, Event.GAVE_UP})
_MADE_OR_BEING = (State.SENT, State.IN_DOUBT, State.ABSENT, State.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Progress:
    """Rows of the newest manifest by how they stand, and the pace. It costs little: no row is
    looked at."""

    rows: int
    done: int
    pending: int
    deferred: int
    in_doubt: int  # without those that only wait for their reply
    failed: int
    owed: int  # that wait for their last question
    flying: int  # rows that only wait for their reply, while the run is heard of
    rate_per_s: float  # of the last minute
    rests_s: float  # until the last region that rests gets calls again

    @property
    def left(self) -> int:
        """Rows that will still be sent or settled."""
        return self.pending + self.deferred + self.in_doubt + self.flying

    @property
    def eta_s(self) -> float | None:
        """Until the last row is sent; None where there is no pace to tell by. A region rests for
        the sake of rows that are left."""
        if self.rate_per_s <= 0:
            return None
        return max(self.left / self.rate_per_s, self.rests_s)

    @property
    def eta(self) -> str:
        """For a person."""
        if not self.left:
            return "asking once more" if self.owed else "0 s"
        return "?" if self.eta_s is None else duration_text(self.eta_s)


def progress_of(fold: Fold, now: float, *, alive: bool | None = None) -> Progress:
    """How a run is doing at `now` (Unix seconds). `alive`: whether a process is known to be at
    work; None where only the ledger tells."""
    words = fold.words
    flying = fold.counts[State.SENT] if _heard_of(fold, now, alive) else 0
    return Progress(
        rows=fold.rows,
        done=words["accepted"] + words["ready"] + words["skipped"],
        pending=words["pending"],
        deferred=words["deferred"],
        in_doubt=words["in_doubt"] - flying,
        failed=words["rejected"] + words["gave_up"] + words["vanished"] + words["deleted"],
        owed=fold.owed,
        flying=flying,
        rate_per_s=fold.tally.rate_per_s(now),
        rests_s=max((until - now for until, _ in fold.tally.rests.values()), default=0.0),
    )


def total(parts: Iterable[Progress]) -> Progress:
    """Of several parts of a run together."""
    parts = list(parts)
    sums = [sum(values) for values in zip(*map(astuple, parts), strict=True)]
    rests_s = max((part.rests_s for part in parts), default=0.0)
    return replace(Progress(*(sums or [0] * len(fields(Progress)))), rests_s=rests_s)


class Glance(NamedTuple):
    """What there is to show of a run, or of a part of it, at one moment."""

    progress: Progress
    why: str  # rows wait
    quotas: tuple[QuotaLine, ...] = ()  # where each has an owner


def look_at(fold: Fold, now: float) -> Glance:
    """At a run that is known to go on."""
    return Glance(progress_of(fold, now, alive=True), why(fold, now))


def status_lines(fold: Fold, now: float, *, over: bool = False) -> list[str]:
    """What `status` says beside the Summary; nothing where nothing is left. `over`: nobody is at
    work on it."""
    progress = progress_of(fold, now)
    if not progress.left:
        return []
    if over or fold.ended is not None:
        return waits(fold, now, over=True)
    eta = "unknown" if progress.eta_s is None else duration_text(progress.eta_s)
    pace = f"  last minute {progress.rate_per_s:.1f}/s, {progress.left:,} left, ETA {eta}"
    return [pace, *waits(fold, now)]


def waits(fold: Fold, now: float, *, over: bool = False) -> list[str]:
    """What the run waits for, and whether it is heard of at all. Looks at all rows that are not at
    rest."""
    progress = progress_of(fold, now, alive=False if over else None)
    said = [f"  {reason}" for reason in [why(fold, now)] if reason and not over]
    if progress.flying:
        wait = "waits for its reply" if progress.flying == 1 else "wait for their reply"
        said.append(f"  {counted(progress.flying, 'row')} {wait}")
    if doubts := _doubts(fold, now, over=over):
        more = progress.in_doubt - len(doubts)
        said.append(
            f"  in doubt: {', '.join(doubts)}" + (f" and {more:,} more" if more > 0 else "")
        )
    later = [
        unstamp(record["not_before"]) - now
        for record in fold.latest.values()
        if record["event"] == Event.DEFERRED and "not_before" in record
    ]
    if later:
        said.append(f"  next deferred row in {duration_text(max(0.0, min(later)))}")
    quiet_s = now - fold.tally.heard
    if quiet_s >= QUIET_S and fold.ended is None and not over:
        said.append(
            f"  nothing was written for {duration_text(quiet_s)}: if no run is going on, run the "
            "same command again"
        )
    return said


def _heard_of(fold: Fold, now: float, alive: bool | None = None) -> bool:
    if alive is not None:
        return alive
    return fold.ended is None and now - fold.tally.heard < QUIET_S


def _doubts(fold: Fold, now: float, *, over: bool) -> list[str]:
    """The first rows in doubt. Who was sent a moment ago is no doubt yet; of a dead run it is."""
    alive = not over and _heard_of(fold, now)
    known = {State.IN_DOUBT, State.DELETING} if alive else _DOUBTED
    doubts = (key for key in fold.latest if fold.standing(key).state in known)
    return list(islice(doubts, _DOUBTS_SHOWN))


def why(fold: Fold, now: float, *, whole: bool = True) -> str:
    """The chief reason for which rows wait at `now` (Unix seconds); "" where none does. Looks at
    a bounded number of rows. Only of a `whole` run it is known where its canary stands."""
    words, tally = fold.words, fold.tally
    for halt in tally.halted:
        return f"halted {halt.get('region') or halt['scope']}: {halt['code']}: {hint(halt['code'])}"
    if whole and words["pending"] and (text := _canary(fold)):
        return text
    for region, (rests_until, code) in tally.rests.items():
        if rests_until > now:
            return f"{region} rests until {clock_text(rests_until)}: {code}: {hint(code)}"
    doubts = words["in_doubt"] - fold.counts[State.SENT]
    if words["deferred"] > max(0, doubts):
        return _deferred(fold, words["deferred"], now)
    if doubts > 0:
        until = asked_until(fold, last=False)
        return f"asking about {counted(doubts, 'row')} in doubt until {until} at the latest"
    if fold.owed and not any(words[word] for word in ("pending", "deferred", "in_doubt")):
        rows = f"{counted(fold.owed, 'row')} that {'was' if fold.owed == 1 else 'were'} sent twice"
        until = asked_until(fold, last=True)
        return f"asking once more about {rows}, until {until} at the latest"
    return ""


def asked_until(fold: Fold, *, last: bool) -> str:
    """When the last look at any open doubt comes, or with `last` the last question of rows that
    were sent again, were every question answered."""
    settle_for_s = Settings().merged(fold.settings).settle_for_s
    scale = max(settle_for_s, SETTLE_FOR_MIN_S) / Settings().settle_for_s
    patience_s = SETTLE_SCHEDULE_S[-1] * scale + (SIGNATURE_DEAD_S if last else 0.0)
    return clock_text(unstamp(fold.tally.doubted) + patience_s) if fold.tally.doubted else "soon"


def clock_text(unix_s: float) -> str:
    """A moment of the day for people: `14:03:10 UTC`."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%H:%M:%S} UTC"


def _canary(fold: Fold) -> str:
    wanted = min(int(fold.settings.get("canary", 0)), fold.rows)
    ready = fold.counts[State.READY]
    made = ready + sum(fold.counts[state] for state in _MADE_OR_BEING)
    if not ready < wanted <= made:
        return ""
    return f"the canary: {ready} of {wanted} are ready, the rest waits"


def _deferred(fold: Fold, number: int, now: float) -> str:
    codes: Counter[str] = Counter()
    soonest: dict[str, float] = {}
    for record in islice(fold.latest.values(), _LOOKED_AT):
        if record["event"] != Event.DEFERRED or "code" not in record:
            continue
        code = record["code"]
        codes[code] += 1
        if "not_before" in record:
            due = unstamp(record["not_before"])
            soonest[code] = min(due, soonest.get(code, due))
    if not codes:
        return f"{counted(number, 'row')} to be sent again"
    [(code, rows)] = codes.most_common(1)
    most = number if len(codes) == 1 else rows
    due_s = soonest.get(code, now) - now
    when = f", the next in {duration_text(due_s)}" if due_s > 0 else ""
    return f"{counted(most, 'row')} to be sent again{when}: {code}: {hint(code)}"


class FirstFaults:
    """Tells the first fault of each kind at once, with its remedy, and its number as it grows."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()

    def take(self, record: Record) -> str:
        """What to say of the next record, or ""."""
        code = record.get("code", "")
        if not code or record["event"] not in _TOLD or record.get("verdict") == Verdict.THROTTLED:
            return ""
        if code not in self._numbers and len(self._numbers) >= _KINDS_MOST:
            return ""
        self._numbers[code] += 1
        number = self._numbers[code]
        if number == 1:
            message = record.get("message", "").rstrip(".")
            what = f"{code}: {message}" if message else code
            return f"{record['key']}: {what}: {hint(code)}"
        grown = number >= 10 and str(number).strip("0") == "1"
        return f"{code}: {number:,} times so far" if grown else ""
