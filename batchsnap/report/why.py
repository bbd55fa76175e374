"""Why rows wait, in one line, and what went wrong for the first time: told while a run goes on."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import islice

from batchsnap.cloud.faults import hint
from batchsnap.ledger.record import Record, unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import State
from batchsnap.plan import counted, duration_text
from batchsnap.settings import SETTLE_FOR_MIN_S, SETTLE_SCHEDULE_S, SIGNATURE_DEAD_S, Settings

_LOOKED_AT = 500  # waiting rows: a view is drawn twice a second
_KINDS_MOST = 50  # that are told of
_TOLD = frozenset({"deferred", "in_doubt", "rejected", "gave_up"})
_MADE_OR_BEING = (State.SENT, State.IN_DOUBT, State.ABSENT, State.ACCEPTED)


def why(fold: Fold, now: float) -> str:
    """The chief reason for which rows wait at `now` (Unix seconds); "" where none does. Looks at
    a bounded number of rows."""
    words, tally = fold.words, fold.tally
    for halt in tally.halted:
        return f"halted {halt.get('region') or halt['scope']}: {halt['code']}: {hint(halt['code'])}"
    if words["pending"] and (text := _canary(fold)):
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
        if record["event"] != "deferred" or "code" not in record:
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
        if not code or record["event"] not in _TOLD or record.get("verdict") == "THROTTLED":
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
