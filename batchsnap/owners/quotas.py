"""A line a quota, where each has an owner: who works on it, since when, how fast, what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from batchsnap.settings import counted

_FEW = 12  # that are told of one by one
_WORST = 5  # of more
_OWNERS_MOST = 8
_SCREEN = 6  # lines of a view that is drawn again and again
_SCREEN_BAD = 3
_OWNED = 3  # rank of a quota that is as it should be


class QuotaLine(NamedTuple):
    """One quota at one moment."""

    name: str  # for people
    source: str
    host: str
    profiles: tuple[str, ...]
    owner: str  # host:pid; "" where nobody works on it
    former: str  # who did, and neither gave it back nor lives
    since: str
    rows: int
    failed: int
    left: int
    rate_per_s: float  # of the last minute
    ended: str  # done, halted, gave_up, or ""
    why: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        told = {name: value for name, value in self._asdict().items() if name != "name"}
        return {**told, "rate_per_s": round(self.rate_per_s, 2)}


def quota_lines(lines: Sequence[QuotaLine], now: float, *, each: bool = False) -> list[str]:
    """For people, at `now` (Unix seconds): a head and a line a quota; of many only the workers and
    the worst few quotas, unless `each` is asked for. Nothing where no quota has an owner."""
    if not lines:
        return []
    ordered = sorted(lines, key=worst_first)
    if each or len(lines) <= _FEW:
        return [f"  {head(lines)}", *_table(ordered, now)]
    owners = owner_lines(lines)
    more = len(owners) - _OWNERS_MOST
    worst = [line for line in ordered if line.ended != "done"][:_WORST]
    return [
        f"  {head(lines)}",
        *(f"    {text}" for text in owners[:_OWNERS_MOST]),
        *[f"    and {counted(more, 'more worker')}"] * (more > 0),
        *["  the worst of them (`batchsnap status --quotas` shows all):"] * bool(worst),
        *_table(worst, now),
    ]


def screen_lines(lines: Sequence[QuotaLine], now: float) -> list[str]:
    """The same for a screen that is drawn again and again: a few lines, whatever their number."""
    if not lines:
        return []
    told = [f"  {head(lines)}"]
    if len(lines) <= _SCREEN:
        return told + _table(sorted(lines, key=lambda line: (line.name, line.host)), now)
    owners = owner_lines(lines)
    more = len(owners) - _SCREEN
    bad = sorted((line for line in lines if _rank(line) < _OWNED), key=worst_first)
    told += [f"    {text}" for text in owners[:_SCREEN]]
    told += [f"    and {counted(more, 'more worker')}"] * (more > 0)
    return told + _table(bad[:_SCREEN_BAD], now)


def owner_lines(lines: Iterable[QuotaLine]) -> list[str]:
    """A line a worker: how many quotas it owns, how fast they are, what is left of them; those with
    the most left first."""
    by_owner: dict[str, list[QuotaLine]] = {}
    for line in lines:
        if line.owner:
            by_owner.setdefault(line.owner, []).append(line)
    told = [
        (
            -sum(line.left for line in own),
            f"{owner}: {counted(len(own), 'quota')}, {sum(line.rate_per_s for line in own):.1f}/s, "
            f"{sum(line.left for line in own):,} left",
        )
        for owner, own in by_owner.items()
    ]
    return [text for _, text in sorted(told)]


def head(lines: Sequence[QuotaLine]) -> str:
    """How many quotas stand how, in one line."""
    workers = len({line.owner for line in lines if line.owner})
    owned = sum(bool(line.owner) for line in lines)
    ends = Counter(line.ended.replace("_", " ") for line in lines if line.ended)
    free = len(lines) - owned - sum(ends.values())
    parts = [
        *[f"{owned} owned by {counted(workers, 'worker')}"] * bool(owned),
        *[f"{free} without an owner"] * bool(free),
        *(f"{number} {word}" for word, number in sorted(ends.items())),
    ]
    return f"{counted(len(lines), 'quota')}: {', '.join(parts)}"


def _rank(line: QuotaLine) -> int:
    return {"halted": 0, "gave_up": 1, "done": 4}.get(line.ended, _OWNED if line.owner else 2)


def worst_first(line: QuotaLine) -> tuple[int, int, str, str]:
    return _rank(line), -line.left, line.name, line.host


def _table(lines: Sequence[QuotaLine], now: float) -> list[str]:
    one_host = len({line.host for line in lines}) == 1
    names = [line.name if one_host else f"{line.name} at {line.host}" for line in lines]
    width = max(map(len, names), default=0)
    return [
        f"    {name:<{width}}  {state_text(line, now)}"
        for name, line in zip(names, lines, strict=True)
    ]


def state_text(line: QuotaLine, now: float) -> str:
    """How it stands, in a line."""
    left = f", {line.left:,} left" if line.left else ""
    if not line.left and not line.ended:  # but to ask once more, or to wait until all is ready
        left = ", nothing left to send"
    if line.owner:
        since = f" since {since_text(line.since, now)}" if line.since else ""
        return f"{line.owner}{since}, {line.rate_per_s:.1f}/s{left}"
    failed = f", {line.failed:,} failed" if line.failed and line.ended == "done" else ""
    why = f": {line.why}" if line.why else ""
    return f"{owner_text(line)}{failed}{left}{why}"


def owner_text(line: QuotaLine) -> str:
    """Who owns it, or why nobody does."""
    gone = f" ({line.former} has gone)" if line.former else ""
    return line.owner or line.ended.replace("_", " ") or f"nobody works on it{gone}"


def since_text(at: str, now: float) -> str:
    """A stamp for people: the time of the day, and the day where it is another."""
    today = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
    return f"{at[11:19]} UTC" if at.startswith(today) else f"{at[:10]} {at[11:19]} UTC"
