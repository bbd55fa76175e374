"""The rate law: tables, and the cap over every sequence that it allows."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.pacing import law

NONE = float("-inf")


@pytest.mark.parametrize(
    ("rate", "size"), [(20, 20), (20.9, 20), (1, 1), (0.1, 1), (16_000, 16_000)]
)
def test_window_size(rate: float, size: int) -> None:
    assert law.window_size(rate) == size


@pytest.mark.parametrize(
    ("previous", "nth", "not_before", "expected"),
    [
        (NONE, NONE, NONE, NONE),
        (NONE, NONE, 5.0, 5.0),
        (10.0, NONE, NONE, 10.0 + 1.006 / 20),
        (10.0, 9.5, NONE, 9.5 + 1.006),
        (10.0, 8.0, NONE, 10.0 + 1.006 / 20),
        (10.0, 9.5, 99.0, 99.0),
    ],
)
def test_earliest(previous: float, nth: float, not_before: float, expected: float) -> None:
    found = law.earliest(
        previous_due=previous, nth_last=nth, rate_per_s=20, margin_s=0.006, not_before=not_before
    )
    assert found == pytest.approx(expected)


def test_a_late_start_keeps_its_grid_point_and_a_very_late_one_moves_the_grid() -> None:
    step = law.step_s(20, 0.006)
    late = law.grid_point(previous_due=10.0, now=10.0 + step * 1.9, rate_per_s=20, margin_s=0.006)
    very = law.grid_point(previous_due=10.0, now=10.0 + step * 2.1, rate_per_s=20, margin_s=0.006)

    assert late == pytest.approx(10.0 + step)
    assert very == pytest.approx(10.0 + step * 2.1)


@given(
    st.lists(st.one_of(st.floats(0, 0.02), st.floats(0, 7)), min_size=30, max_size=200),
    st.sampled_from([1.0, 2.5, 20.0, 33.0]),
    st.floats(law.MARGIN_MIN_S, law.MARGIN_MAX_S),
)
def test_no_window_ever_holds_one_too_many(
    lateness: list[float], rate: float, margin: float
) -> None:
    starts: list[float] = []
    due, size = NONE, law.window_size(rate)
    now = 0.0
    for late in lateness:
        nth = starts[-size] if len(starts) >= size else NONE
        lawful = law.earliest(
            previous_due=due, nth_last=nth, rate_per_s=rate, margin_s=margin, not_before=0.0
        )
        now = max(now, lawful) + late
        due = law.grid_point(previous_due=due, now=now, rate_per_s=rate, margin_s=margin)
        starts.append(now)

    assert law.worst_window(starts) <= size


def test_what_a_stall_missed_stays_missed() -> None:
    starts, due, now = [], NONE, 0.0
    for number in range(60):
        nth = starts[-20] if number >= 20 else NONE
        now = max(
            now,
            law.earliest(
                previous_due=due, nth_last=nth, rate_per_s=20, margin_s=0.006, not_before=0.0
            ),
        )
        if number == 30:
            now += 5.0
        due = law.grid_point(previous_due=due, now=now, rate_per_s=20, margin_s=0.006)
        starts.append(now)

    gaps = [b - a for a, b in pairwise(starts[31:])]
    assert min(gaps) == pytest.approx(law.step_s(20, 0.006))


@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_the_margin_settles_where_the_wanted_share_is_throttled(margin: float) -> None:
    up = law.widened(margin) - margin
    down = margin - law.narrowed(margin)

    assert down / up == pytest.approx(law.THROTTLED_TARGET)


def test_the_margin_has_bounds_and_grows_faster_when_it_is_wide() -> None:
    assert law.narrowed(law.MARGIN_MIN_S) == law.MARGIN_MIN_S
    assert law.widened(law.MARGIN_MAX_S) == law.MARGIN_MAX_S
    assert law.widened(1.0) - 1.0 > law.widened(0.1) - 0.1


@given(st.lists(st.floats(0, 30), max_size=80).map(sorted))
def test_worst_window_counts_as_a_plain_count_does(starts: list[float]) -> None:
    plain = max((sum(1 for t in starts if s <= t < s + 1.0) for s in starts), default=0)

    assert abs(law.worst_window(starts) - plain) <= sum(
        math.isclose(b - a, 1.0, abs_tol=1e-9) for a in starts for b in starts
    )
