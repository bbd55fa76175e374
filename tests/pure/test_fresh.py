"""Which snapshot is young enough: times without a zone, a margin, and what does not count."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from batchsnap.cloud.pages import SnapshotFact
from batchsnap.errors import UsageError
from batchsnap.settings import FRESH_MARGIN_S, Settings
from batchsnap.settling.evidence import youngest

NOW = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC).timestamp()  # noon in Shanghai
LIMIT_S = 12 * 3600.0


def fact(create_time: str, *, state: str = "NORMAL", name: str = "snap-1") -> SnapshotFact:
    return SnapshotFact(name, "n", "disk-1", state, 100, create_time=create_time)


def young(*facts: SnapshotFact, limit_s: float = LIMIT_S) -> str:
    found = youngest(facts, now=NOW, unless_newer_than_s=limit_s)
    return found.snapshot_id if found else ""


@pytest.mark.parametrize(
    ("create_time", "counts"),
    [
        ("2026-01-02 11:59:00", True),  # a minute ago in Shanghai
        ("2026-01-02 00:02:00", True),  # 11 h 58 min
        ("2026-01-02 00:00:30", False),  # younger than 12 h, but not by the margin
        ("2026-01-01 23:59:00", False),
        ("2026-01-02 12:00:01", True),  # ahead of ours: made just now
        ("2030-01-01 00:00:00", True),
        ("", False),
        ("2026-01-02T11:59:00Z", False),  # of another form: nothing is known
        ("yesterday", False),
    ],
)
def test_times_are_shanghais_and_a_margin_is_kept(create_time: str, counts: bool) -> None:
    assert bool(young(fact(create_time))) == counts


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("NORMAL", True),
        ("CREATING", True),
        ("ROLLBACKING", False),
        ("TORECYCLE", False),
        ("COPYING_FROM_REMOTE", False),
        ("", False),
    ],
)
def test_only_what_is_there_or_in_the_making_counts(state: str, counts: bool) -> None:
    assert bool(young(fact("2026-01-02 11:00:00", state=state))) == counts


def test_the_youngest_is_named() -> None:
    old = fact("2026-01-02 08:00:00", name="snap-old")
    new = fact("2026-01-02 11:00:00", name="snap-new")
    assert young(old, new) == young(new, old) == "snap-new"
    assert young() == ""


def test_a_limit_within_the_margin_is_refused() -> None:
    Settings(unless_newer_than_s=FRESH_MARGIN_S + 1).check()
    for limit_s in (1.0, FRESH_MARGIN_S, -1.0, float("nan")):
        with pytest.raises(UsageError, match="--unless-newer-than"):
            Settings(unless_newer_than_s=limit_s).check()
