"""The rate law: tables, and the cap over every sequence that it allows."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.pacing import law
from tests.windows import worst_window

NONE = float("-inf")


class Walk:
    """Starts that obey the law, each as late as it is told."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.size = law.window_size(rate)
        self.due = NONE
        self.starts: list[float] = []

    def start(self, late: float, margin: float, asked_at: float = 0.0) -> None:
        nth = self.starts[-self.size] if len(self.starts) >= self.size else NONE
        lawful = law.earliest(
            previous_due=self.due, nth_last=nth, rate_per_s=self.rate, margin_s=margin
        )
        now = max(self.starts[-1] if self.starts else 0.0, lawful, asked_at) + late
        self.due = law.grid_point(
            previous_due=self.due, now=now, rate_per_s=self.rate, margin_s=margin
        )
        self.starts.append(now)


@pytest.mark.parametrize(
    ("rate", "size", "window", "step"),
    [
        (20, 20, 1.0, 0.0503),
        (20.9, 20, 1.0, 0.0503),
        (2.5, 2, 1.0, 0.503),
        (1, 1, 1.0, 1.006),
        (0.5, 1, 2.0, 2.006),
        (0.1, 1, 10.0, 10.006),
        (16_000, 16_000, 1.0, 1.006 / 16_000),
    ],
)
def test_a_rate_is_so_many_in_a_window(rate: float, size: int, window: float, step: float) -> None:
    assert law.window_size(rate) == size
    assert law.window_s(rate) == pytest.approx(window)
    assert law.step_s(rate, 0.006) == pytest.approx(step)


@pytest.mark.parametrize(
    ("previous", "nth", "expected"),
    [
        (NONE, NONE, NONE),  # nothing was started yet
        (10.0, NONE, 10.0 + 1.006 / 20),  # the grid
        (10.0, 9.5, 9.5 + 1.003),  # the guard
        (10.0, 8.0, 10.0 + 1.006 / 20),
        (-3.0, -3.5, -3.5 + 1.003),
    ],
)
def test_earliest(previous: float, nth: float, expected: float) -> None:
    found = law.earliest(previous_due=previous, nth_last=nth, rate_per_s=20, margin_s=0.006)

    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rate", "late", "kept"),
    [(20, 0.0, True), (20, 0.0502, True), (20, 0.0504, False), (20, 5.0, False),
     (1000, 0.009, True), (1000, 0.011, False)],
)  # fmt: skip
def test_a_late_start_keeps_its_grid_point_and_a_very_late_one_moves_the_grid(
    rate: float, late: float, kept: bool
) -> None:
    due = 10.0 + law.step_s(rate, 0.006)
    found = law.grid_point(previous_due=10.0, now=due + late, rate_per_s=rate, margin_s=0.006)

    assert found == pytest.approx(due if kept else due + late)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(0, 0.002), st.floats(0, 0.06), st.floats(0, 7)),
            st.floats(law.MARGIN_MIN_S, law.MARGIN_MAX_S),
            st.floats(0, 1),
        ),
        min_size=30,
        max_size=200,
    ),
    st.sampled_from([0.5, 1.0, 2.5, 20.0, 33.0]),
)
def test_no_window_ever_holds_one_too_many(
    steps: list[tuple[float, float, float]], rate: float
) -> None:
    walk = Walk(rate)
    for late, margin, pause in steps:
        asked_at = walk.starts[-1] + pause if walk.starts else 0.0
        walk.start(late, margin, asked_at)

    assert worst_window(walk.starts) <= walk.size
    apart = [b - a for a, b in zip(walk.starts, walk.starts[walk.size :], strict=False)]
    assert all(gap >= law.WINDOW_S for gap in apart)


EXAMPLE = re.findall(r"^ +(\d+)  ([\d.]+)   ([\d.]+)(.*)$", law.__doc__ or "", re.MULTILINE)


def test_the_example_of_the_docstring_is_lawful() -> None:
    """Each start as told: at its grid point, when the law allows it, or as late as the host was."""
    walk = Walk(4)
    for _, grid, starts, why in EXAMPLE:
        walk.start(0.0, 0.04, float(starts) if "host" in why else 0.0)
        assert (walk.due, walk.starts[-1]) == pytest.approx((float(grid), float(starts)))

    assert [int(number) for number, *_ in EXAMPLE] == list(range(1, 11))


def test_what_a_stall_missed_stays_missed() -> None:
    walk = Walk(20)
    for number in range(60):
        walk.start(5.0 if number == 30 else 0.0, 0.006)

    assert min(b - a for a, b in pairwise(walk.starts)) == pytest.approx(law.step_s(20, 0.006))


@given(st.lists(st.floats(0, 0.04), min_size=100, max_size=100))
def test_small_latenesses_do_not_add_up(lateness: list[float]) -> None:
    walk = Walk(20)
    for late in lateness:
        walk.start(late, 0.006)

    # The echo of a late start may be late too and move the grid; each time it loses a step.
    lost = walk.starts[-1] - walk.starts[0] - 99 * law.step_s(20, 0.006)
    assert lost <= 0.041 + 0.0503 * 6


@pytest.mark.parametrize(
    ("margin", "target"), [(0.1, law.THROTTLED_TARGET), (1.0, law.SHARED_TARGET)]
)
def test_the_margin_settles_where_the_wanted_share_is_throttled(
    margin: float, target: float
) -> None:
    up = law.widened(margin, dense=False) - margin
    down = margin - law.narrowed(margin)

    assert down / up == pytest.approx(target)


def test_the_margin_has_bounds_and_grows_faster_when_it_is_far_off() -> None:
    assert law.narrowed(law.MARGIN_MIN_S) == law.MARGIN_MIN_S
    assert law.widened(law.MARGIN_MAX_S, dense=True) == law.MARGIN_MAX_S
    assert law.widened(0.1, dense=True) > law.widened(0.1, dense=False) > 0.1
    assert law.widened(1.0, dense=False) - 1.0 > law.widened(0.1, dense=True) - 0.1


@pytest.mark.parametrize(
    ("margin", "age", "left"),
    [
        (0.046, 0.0, 0.046),
        (0.046, 12 * 3600.0, 0.041),
        (0.046, 24 * 3600.0, 0.036),  # the nightly run's
        (0.046, 25.5 * 3600.0, pytest.approx(0.035, abs=0.001)),  # late, or the clocks went back
        (0.046, law.REMEMBERED_S, law.MARGIN_MIN_S),
        (0.046, float("inf"), law.MARGIN_MIN_S),
        (0.046, -1.0, 0.046),
        (0.0, 0.0, law.MARGIN_MIN_S),
        (9.0, 0.0, law.MARGIN_MIN_S),  # about others at the quota
        (float("inf"), 0.0, law.MARGIN_MIN_S),
    ],
)
def test_a_margin_is_remembered_until_the_next_night(
    margin: float, age: float, left: float
) -> None:
    assert law.remembered(margin, age) == pytest.approx(left)


@given(st.lists(st.floats(0, 30), max_size=80).map(sorted))
def test_worst_window_counts_as_a_plain_count_does(starts: list[float]) -> None:
    plain = max((sum(1 for t in starts if s <= t < s + 1.0) for s in starts), default=0)

    assert abs(worst_window(starts) - plain) <= sum(
        math.isclose(b - a, 1.0, abs_tol=1e-9) for a in starts for b in starts
    )
