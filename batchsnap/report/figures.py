"""Records -> the figures of the page: starts against the cap, latency, throttling, regions."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, NamedTuple

from batchsnap.ledger.record import Record, of_later_version, unstamp
from batchsnap.lifecycle import Event
from batchsnap.model import Verdict
from batchsnap.owners.parts import Takeover

_POINTS_MAX = 1500
_MARKS_MAX = 30
_TOGETHER_S = 30.0  # quotas that one death set free are claimed within it
_MARKS: dict[str, tuple[str, str, str]] = {
    Event.RESUMED: ("resumed", "another process went on", "mark"),
    Event.STOPPED: ("stopped", "stopped: {reason}", "wait"),
    Event.HALTED: ("halted", "halted by {code}", "bad"),
    Event.DOUBLED: ("twice", "{disk_id} was found to have two", "bad"),
}
"""Event -> the word on the chart, the text below it, its colour."""


class Mark(NamedTuple):
    """A moment on the time line that explains what comes after it."""

    at: float  # Unix seconds
    word: str  # on the chart
    text: str  # below it
    kind: str  # a colour of the page: mark, wait or bad


class _Takeovers(NamedTuple):
    """Quotas of one owner that others went on with at about the same time."""

    began: float
    place: int  # among the marks
    quotas: dict[str, None]
    owners: dict[str, None]


class Marks:
    """What happened to the run as a whole: other lives and owners, halts, the canary, doubles."""

    def __init__(self) -> None:
        self.found: list[Mark] = []
        self._takeovers: dict[str, _Takeovers] = {}  # by former owner, the latest of it
        self.more = 0  # that are not kept
        self._canary = 0  # snapshots that must be ready before the rest goes

    def add(self, record: Record) -> None:
        """Take a record."""
        event = record["event"]
        if "settings" in record:
            self._canary = record["settings"].get("canary", 0)
        if event == Event.READY and self._canary:
            self._canary -= 1
            if not self._canary:
                self._mark(unstamp(record["at"]), "canary", "the canary was ready", "mark")
        elif event in _MARKS and "at" in record:
            word, text, kind = _MARKS[event]
            known = defaultdict(
                lambda: "?", {"reason": f"exit {record.get('exit', '?')}", **record}
            )
            self._mark(unstamp(record["at"]), word, text.format_map(known), kind)

    def take_over(self, takeover: Takeover) -> None:
        """Another process goes on with a quota; one mark for all that the same death set free."""
        at = unstamp(takeover.at)
        group = self._takeovers.get(takeover.former)
        if group is None or at - group.began > _TOGETHER_S:
            place = len(self.found)
            self._mark(at, "taken over", "", "mark")
            if place == len(self.found):
                return
            group = self._takeovers[takeover.former] = _Takeovers(at, place, {}, {})
        group.owners[takeover.owner] = group.quotas[takeover.quota] = None
        what = next(iter(group.quotas))
        if len(group.quotas) > 1:
            what = f"{len(group.quotas)} quotas"
        text = f"{', '.join(group.owners)} took over {what} of {takeover.former}"
        self.found[group.place] = self.found[group.place]._replace(text=text)

    def _mark(self, at: float, word: str, text: str, kind: str) -> None:
        if len(self.found) < _MARKS_MAX:
            self.found.append(Mark(at, word, text, kind))
        else:
            self.more += 1


class TimeSeries:
    """Time series of the calls that were sent, second by second."""

    def __init__(self) -> None:
        self._starts: dict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
        self._throttled: Counter[int] = Counter()
        self._latency_ms: dict[int, list[float]] = defaultdict(list)
        self._shared = True
        self._caps: list[tuple[float, float]] = []  # (since when, calls a second)

    def add(self, record: Record) -> None:
        """Take a record; only those of sent calls matter."""
        if of_later_version(record):
            return
        if record["event"] == Event.RUN:
            self._shared = "{region}" not in record["endpoint"]
        if rate := record.get("settings", {}).get("rate_per_s"):
            self._caps.append((unstamp(record["at"]), float(rate)))
        if "sent_at" not in record:
            return
        second = int(unstamp(record["sent_at"]))
        where = "" if self._shared else record["region"] or ""
        self._starts[record["profile"] or "", where][second] += 1
        self._throttled[second] += record.get("verdict") == Verdict.THROTTLED
        self._latency_ms[second].append(record["latency_ms"])

    @property
    def cap(self) -> float:
        """The highest that was ever in force, 0 where none is known."""
        return max((rate for _, rate in self._caps), default=0.0)

    def _cap_in(self, start: float, end: float) -> float:
        """The highest in force from `start` to `end`."""
        before = [rate for since, rate in self._caps if since <= start]
        within = [rate for since, rate in self._caps if start < since < end]
        return max([*before[-1:], *within], default=self.cap)

    def to_json(self) -> dict[str, Any]:
        """Columns over time. `starts` is of the busiest quota in the busiest second of each
        step, so that thinning out hides no peak."""
        seconds = sorted(self._latency_ms)
        if not seconds:
            return {"t": [], "cap": [], "starts": [], "throttled": [], "p50": [], "p95": []}
        step = max(1, -(-(seconds[-1] - seconds[0] + 1) // _POINTS_MAX))
        points: dict[int, dict[str, Any]] = {}
        for second in seconds:
            slot = (second - seconds[0]) // step * step + seconds[0]
            point = points.setdefault(slot, {"starts": 0, "throttled": 0, "latency": []})
            busiest = max(counter[second] for counter in self._starts.values())
            point["starts"] = max(point["starts"], busiest)
            point["throttled"] += self._throttled[second]
            point["latency"] += self._latency_ms[second]
        times = range(seconds[0], seconds[-1] + 1, step)
        filled = [points.get(t) for t in times]
        return {
            "t": list(times),
            "cap": [self._cap_in(t, t + step) for t in times],
            "starts": [p["starts"] if p else 0 for p in filled],
            "throttled": [p["throttled"] if p else 0 for p in filled],
            "p50": [_quantile(p["latency"], 0.5) if p else None for p in filled],
            "p95": [_quantile(p["latency"], 0.95) if p else None for p in filled],
        }


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def columns(rows: list[tuple[str, ...]], names: tuple[str, ...]) -> dict[str, Any]:
    """A table as columns; one that repeats its values is a dictionary and numbers into it."""
    table: dict[str, Any] = {}
    for index, name in enumerate(names):
        values = [row[index] for row in rows]
        distinct = dict.fromkeys(values)
        if len(distinct) * 2 < len(values):
            position = {value: n for n, value in enumerate(distinct)}
            table[name] = {"words": list(distinct), "at": [position[v] for v in values]}
        else:
            table[name] = {"values": values}
    return table
