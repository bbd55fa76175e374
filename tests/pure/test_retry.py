"""decide() and the breakers, by table: numbers in, the next step out."""

from __future__ import annotations

import pytest

from batchsnap.model import Ruling, Scope, Verdict
from batchsnap.retry import (
    STREAK_LIMIT,
    Breaker,
    Decision,
    Do,
    Tries,
    decide,
    quota_breaker,
    region_breaker,
)
from batchsnap.settings import Waits

V = Verdict
WAITS = Waits()
BEFORE_ONE = 1 - 2**-53  # the greatest that random() gives


def decided(
    verdict: Verdict,
    tries: Tries | None = None,
    *,
    doubted: bool = False,
    suspect: bool = False,
    now: float = 1000.0,
    retry_for_s: float = 1800.0,
    rand: float = 0.5,
) -> Decision:
    scope = Scope.REGION if verdict is V.HALT else None
    return decide(
        Ruling(verdict, "code", "why", "", "", scope),
        tries if tries is not None else Tries(),
        doubted=doubted,
        suspect=suspect,
        now=now,
        retry_for_s=retry_for_s,
        waits=WAITS,
        rand=rand,
    )


@pytest.mark.parametrize(
    ("verdict", "doubted", "do"),
    [
        (V.ACCEPTED, False, Do.DONE),
        (V.ACCEPTED, True, Do.DONE),
        (V.HALT, False, Do.HALT),
        (V.HALT, True, Do.HALT),
        (V.REJECTED, False, Do.DONE),
        (V.REJECTED, True, Do.SETTLE),
        (V.THROTTLED, False, Do.WAIT),
        (V.TRANSIENT, True, Do.WAIT),
        (V.BACKPRESSURE, False, Do.WAIT),
        (V.IN_DOUBT, False, Do.SETTLE),
        (V.IN_DOUBT, True, Do.SETTLE),
        (V.BUSY, False, Do.WAIT),
        (V.BUSY, True, Do.WAIT),
    ],
)
def test_the_first_step(verdict: Verdict, doubted: bool, do: Do) -> None:
    assert decided(verdict, doubted=doubted).do is do


@pytest.mark.parametrize("retry_for_s", [0.0, 1800.0])
def test_throttles_faults_before_sending_and_a_full_region_never_count(retry_for_s: float) -> None:
    tries = Tries()
    for hour in range(100):
        for verdict in (V.THROTTLED, V.TRANSIENT, V.BACKPRESSURE):
            got = decided(verdict, tries, now=hour * 3600.0, retry_for_s=retry_for_s)
            assert got.do is Do.WAIT
    assert tries.since < 0


@pytest.mark.parametrize(("rand", "delay_s"), [(0.0, 1.0), (0.5, 1.5), (BEFORE_ONE, 2.0)])
def test_a_throttled_call_waits_one_to_two_seconds(rand: float, delay_s: float) -> None:
    assert decided(V.THROTTLED, rand=rand).delay_s == pytest.approx(delay_s)


def test_transient_waits_grow_with_full_jitter_to_a_minute() -> None:
    tries = Tries()
    most = [decided(V.TRANSIENT, tries, rand=BEFORE_ONE).delay_s for _ in range(9)]
    assert most == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])
    assert decided(V.TRANSIENT, tries, rand=0.0).delay_s == 0


@pytest.mark.parametrize(("rand", "factor"), [(0.0, 0.9), (0.5, 1.0), (BEFORE_ONE, 1.1)])
def test_busy_waits_grow_from_30_s_to_5_min_with_a_tenth_of_jitter(
    rand: float, factor: float
) -> None:
    tries = Tries()
    delays = [decided(V.BUSY, tries, rand=rand).delay_s for _ in range(6)]
    assert delays == pytest.approx([factor * d for d in (30, 60, 120, 240, 300, 300)])


def test_waits_do_not_overflow_after_very_many_tries() -> None:
    tries = Tries(busy=10**6, transient=10**6)
    assert decided(V.BUSY, tries).delay_s == 300
    assert decided(V.TRANSIENT, tries, rand=BEFORE_ONE).delay_s == pytest.approx(60)


@pytest.mark.parametrize(
    ("spent_s", "doubted", "expected"),
    [
        (0.0, False, Decision(Do.WAIT, 30.0)),
        (1799.0, False, Decision(Do.WAIT, 1.0)),  # no longer than what is left
        (1800.0, False, Decision(Do.GIVE_UP)),
        (9999.0, False, Decision(Do.GIVE_UP)),
        (1799.0, True, Decision(Do.WAIT, 1.0)),
        (1800.0, True, Decision(Do.SETTLE)),  # once more asked about, then given up
    ],
)
def test_the_budget_counts_from_the_first_busy(
    spent_s: float, doubted: bool, expected: Decision
) -> None:
    tries = Tries(since=1000.0)
    assert decided(V.BUSY, tries, doubted=doubted, now=1000.0 + spent_s) == expected
    assert tries.since == 1000.0


def test_the_budget_may_begin_at_zero_of_the_clock() -> None:
    tries = Tries()
    assert decided(V.BUSY, tries, now=0.0).do is Do.WAIT
    assert tries.since == 0.0
    assert decided(V.BUSY, tries, now=1800.0).do is Do.GIVE_UP


def test_a_doubt_is_counted_and_takes_nothing_of_the_budget() -> None:
    tries = Tries()
    decided(V.IN_DOUBT, tries, now=5.0)
    assert tries == Tries(doubts=1)


def test_no_budget_gives_up_at_once() -> None:
    assert decided(V.BUSY, retry_for_s=0.0).do is Do.GIVE_UP


# -- breakers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [V.TRANSIENT, V.IN_DOUBT, V.THROTTLED])
def test_the_tenth_bad_verdict_in_a_row_rests_the_quota(bad: Verdict) -> None:
    breaker = quota_breaker(WAITS)
    for _ in range(STREAK_LIMIT - 1):
        breaker.note(bad, 100.0)
    assert not breaker.tripped
    breaker.note(bad, 100.0)
    assert breaker.tripped
    assert breaker.rest_until == 101.0


@pytest.mark.parametrize("verdict", list(Verdict))
def test_what_ends_a_streak(verdict: Verdict) -> None:
    breaker = quota_breaker(WAITS)
    for _ in range(STREAK_LIMIT):
        breaker.note(V.TRANSIENT, 0.0)
    breaker.note(verdict, 0.5)
    holds = verdict in {V.TRANSIENT, V.IN_DOUBT, V.THROTTLED, V.HALT}
    assert breaker.tripped is holds
    assert (breaker.rest_until == 1.0) is holds


def test_each_failed_probe_doubles_the_rest_to_a_minute_and_a_good_one_ends_it() -> None:
    breaker, now, rests = quota_breaker(WAITS), 0.0, []
    for _ in range(STREAK_LIMIT - 1):
        breaker.note(V.IN_DOUBT, now)
    for _ in range(8):
        breaker.note(V.IN_DOUBT, now)
        rests.append(breaker.rest_until - now)
        now = breaker.rest_until
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]
    breaker.note(V.ACCEPTED, now)
    assert not breaker.tripped
    assert breaker.rest_until < now
    for _ in range(STREAK_LIMIT):
        breaker.note(V.IN_DOUBT, now)
    assert breaker.rest_until == now + 1


def test_replies_to_calls_sent_before_the_rest_lengthen_nothing() -> None:
    breaker = quota_breaker(WAITS)
    for tenth_s in range(STREAK_LIMIT + 5):
        breaker.note(V.THROTTLED, tenth_s / 10)
    assert breaker.rest_until == pytest.approx((STREAK_LIMIT - 1) / 10 + 1)
    assert breaker.pauses == 1


def test_a_region_rests_at_its_first_refusal() -> None:
    breaker = region_breaker(WAITS)
    rests, now = [], 0.0
    for _ in range(5):
        breaker.note(V.BACKPRESSURE, now)
        rests.append(breaker.rest_until - now)
        now = breaker.rest_until
    assert rests == [60, 120, 240, 300, 300]


@pytest.mark.parametrize(
    ("verdict", "ends"),
    [
        (V.ACCEPTED, True),
        (V.BUSY, True),
        (V.REJECTED, True),
        (V.THROTTLED, False),
        (V.TRANSIENT, False),
        (V.IN_DOUBT, False),
        (V.HALT, False),
    ],
)
def test_what_ends_the_rest_of_a_region(verdict: Verdict, ends: bool) -> None:
    breaker = region_breaker(WAITS)
    breaker.note(V.BACKPRESSURE, 0.0)
    breaker.note(verdict, 1.0)
    assert breaker.tripped is not ends


def test_a_new_breaker_rests_never() -> None:
    breaker = Breaker(frozenset({V.BUSY}), frozenset({V.ACCEPTED}), 1, 1.0, 2.0)
    assert not breaker.tripped
    assert breaker.rest_until == float("-inf")


def test_patience_runs_from_the_first_of_an_unbroken_series() -> None:
    breaker = quota_breaker(WAITS)
    assert breaker.spent_at(5.0, 60.0) == float("inf")
    breaker.note(V.TRANSIENT, 100.0)
    breaker.note(V.THROTTLED, 104.0)
    assert breaker.spent_at(5.0, 60.0) == 105.0
    breaker.note(V.IN_DOUBT, 104.5)  # is asked about for so long before it can be tried again
    assert breaker.spent_at(5.0, 60.0) == 165.0
    breaker.note(V.BUSY, 104.6)
    assert breaker.spent_at(5.0, 60.0) == float("inf")
    breaker.note(V.TRANSIENT, 200.0)
    assert breaker.spent_at(5.0, 60.0) == 205.0
