"""Scenarios read and written, outcomes that depend on the seed alone, the second that counts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.errors import UsageError
from batchsnap.simulator.account import WINDOW_S, CallLimit
from batchsnap.simulator.outcomes import Call, bell, chance, jitter_s, latency_s, outcome_of, word
from batchsnap.simulator.scenario import CREATE, PRESETS, SHARES, Kind, Scenario, Step, scenario_of


def call(disk: str = "disk-00000001", nth: int = 1, **more: object) -> Call:
    values = {
        "action": CREATE,
        "disk_id": disk,
        "region": "ap-guangzhou",
        "disk_nth": nth,
        "region_nth": 1000,
        "nth": 1000,
        "since_first_s": 0.0,
    }
    return Call(**{**values, **more})  # type: ignore[arg-type]


# Reading and writing.


@pytest.mark.parametrize("name", PRESETS)
def test_a_scenario_survives_its_json(name: str) -> None:
    assert scenario_of(PRESETS[name].to_json()) == PRESETS[name]


def test_a_script_survives_its_json() -> None:
    scenario = scenario_of(
        {
            "preset": "lossy",
            "caps": {"DescribeSnapshots": 5},
            "script": [
                {"match": {"disk_id": "disk-00000001", "nth": 2}, "do": "error", "code": "X.Y"},
                {"match": {"action": "*", "nth": [1, 3]}, "do": "hang", "seconds": 0.5},
                {"do": "null_id", "committed": True},
            ],
        }
    )
    assert scenario.lost_reply == 0.05
    assert scenario.cap_of("DescribeSnapshots") == 5.0
    assert scenario.script[1] == Step(Kind.HANG, action="*", nth=(1, 3), seconds=0.5)
    assert scenario_of(scenario.to_json()) == scenario


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"lost_replies": 0.1}, "no field lost_replies"),
        ({"preset": "wild"}, "no preset wild"),
        ({"lost_reply": 1.5}, "from 0 to 1"),
        ({"lost_reply": 0.6, "hang": 0.6}, "more than 1"),
        ({"seed": "7"}, "seed must be int"),
        ({"bad_credentials": 1}, "bad_credentials must be bool"),
        ({"latency_ms": True}, "latency_ms must be int or float"),
        ({"latency_ms": -1}, "must not be negative"),
        ({"latency_ms": float("nan")}, "must be a number"),
        ({"throttle_window": "leaky"}, "sliding, fixed"),
        ({"caps": {"DescribeDisks": "many"}}, "caps.DescribeDisks"),
        ({"caps": {"DescribeDisks": -1}}, "must not be negative"),
        ({"script": [{"do": "explode"}]}, "do must be one of"),
        ({"script": [{"match": {"disk": "x"}, "do": "hang"}]}, "has no disk"),
        ({"script": [{"match": {"nth": "2"}, "do": "hang"}]}, "nth"),
        ({"script": [{"match": {"disk_id": 5}, "do": "hang"}]}, "disk_id must be str"),
        ({"script": [{"do": "hang", "seconds": "long"}]}, "seconds must be"),
        ([], "JSON object"),
    ],
)
def test_a_wrong_scenario_says_what_is_wrong(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        scenario_of(values)


def test_caps_are_the_published_ones() -> None:
    calm = Scenario()
    assert (calm.cap_of(CREATE), calm.cap_of("DescribeSnapshots")) == (20, 20)
    assert calm.cap_of("DescribeDisks") == 100
    assert Scenario(cap_per_s=0).cap_of(CREATE) == 0


# Fates.


def test_a_seed_gives_each_disk_its_faults_in_any_order() -> None:
    hostile = PRESETS["hostile"]
    calls = [call(word("disk", n), nth) for n in range(300) for nth in (1, 2, 3)]
    forwards = {c: outcome_of(hostile, c) for c in calls}
    assert {c: outcome_of(hostile, c) for c in reversed(calls)} == forwards
    other = hostile.with_values({"seed": 1})
    assert {c: outcome_of(other, c) for c in calls} != forwards


def test_a_fate_ignores_how_many_others_called_before() -> None:
    hostile = PRESETS["hostile"]
    for n in range(200):
        disk = word("disk", n)
        assert outcome_of(hostile, call(disk)) == outcome_of(
            hostile, call(disk)._replace(nth=9, region_nth=99)
        )


def test_shares_come_out_as_they_were_asked_for() -> None:
    scenario = Scenario(lost_reply=0.1, hang=0.2, error_5xx=0.1, committed=0.25)
    seen = [outcome_of(scenario, call(f"disk-{n:08d}")) for n in range(8000)]
    kinds = Counter(f.kind for f in seen)
    assert kinds[Kind.LOST_REPLY] == pytest.approx(800, rel=0.15)
    assert kinds[Kind.HANG] == pytest.approx(1600, rel=0.15)
    assert kinds[Kind.OK] == pytest.approx(4800, rel=0.05)
    assert all(f.committed for f in seen if f.kind is Kind.LOST_REPLY)
    done = [f.committed for f in seen if f.kind is Kind.HANG]
    assert sum(done) / len(done) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("kind", SHARES)
def test_a_share_of_one_meets_every_call(kind: Kind) -> None:
    scenario = Scenario().with_values({kind.value: 1.0})
    assert {outcome_of(scenario, call(f"disk-{n:08d}")).kind for n in range(200)} == {kind}


def test_nothing_is_done_by_a_reset_or_a_refusal() -> None:
    for kind in (Kind.RESET, Kind.THROTTLE, Kind.BUSY, Kind.BACKPRESSURE, Kind.NOT_FOUND):
        scenario = Scenario(script=(Step(kind),))
        assert not outcome_of(scenario, call()).committed


def test_a_busy_disk_is_busy_for_its_first_tries_or_for_a_while() -> None:
    by_tries = Scenario(busy=1.0, busy_tries=2)
    assert [outcome_of(by_tries, call(nth=n)).kind for n in (1, 2, 3)] == ["busy", "busy", "ok"]
    by_time = Scenario(busy=1.0, busy_s=30)
    assert outcome_of(by_time, call(nth=9, since_first_s=29.9)).code == "InvalidDisk.Busy"
    assert outcome_of(by_time, call(nth=9, since_first_s=30.0)).kind is Kind.OK


def test_a_region_is_saturated_for_its_first_calls() -> None:
    scenario = Scenario(backpressure_first=2)
    said = [outcome_of(scenario, call(region_nth=n)).code for n in (1, 2, 3)]
    assert said == ["ResourceUnavailable.TooManyCreatingSnapshot"] * 2 + [""]


def test_a_script_counts_by_disk_by_region_or_by_action() -> None:
    def kinds(step: Step, *calls: Call) -> list[str]:
        return [outcome_of(Scenario(script=(step,)), c).kind.value for c in calls]

    mine, other = call(nth=2), call("disk-00000002", nth=2)
    by_disk = Step(Kind.LOST_REPLY, disk_id=mine.disk_id, nth=(2,))
    assert kinds(by_disk, mine, other, mine._replace(disk_nth=1)) == ["lost_reply", "ok", "ok"]
    by_region = Step(Kind.RESET, region="ap-tokyo", nth=(7,))
    there = mine._replace(region="ap-tokyo", region_nth=7)
    assert kinds(by_region, there, mine._replace(region_nth=7)) == ["reset", "ok"]
    by_action = Step(Kind.RESET, action="DescribeSnapshots", nth=(1,))
    question = mine._replace(action="DescribeSnapshots", nth=1)
    assert kinds(by_action, question, question._replace(nth=2), mine) == ["reset", "ok", "ok"]


def test_the_road_is_as_long_as_asked() -> None:
    scenario = Scenario(latency_ms=120, latency_spread=0.3, jitter_ms=20)
    seconds = sorted(latency_s(scenario, n) for n in range(4001))
    assert seconds[2000] == pytest.approx(0.120, rel=0.03)
    assert all(0 <= jitter_s(scenario, n) <= 0.020 for n in range(1000))
    assert latency_s(Scenario(latency_ms=0), 1) == 0.0
    assert jitter_s(Scenario(), 1) == 0.0
    exponential = scenario.with_values({"jitter_kind": "exponential"})
    mean = sum(jitter_s(exponential, n) for n in range(4000)) / 4000
    assert mean == pytest.approx(0.020, rel=0.08)


@given(st.lists(st.text(), min_size=1))
def test_dice_stay_in_their_range(labels: list[str]) -> None:
    assert 0.0 <= chance(*labels) < 1.0
    assert abs(bell(*labels)) < 9
    assert len(word(*labels)) == 8


# The second that counts.


def test_the_twenty_first_call_in_any_second_is_refused() -> None:
    limit = CallLimit()
    assert [limit.arrive(10.0 + n * 0.049, 20) for n in range(21)] == [0] * 20 + [21]
    assert limit.to_json() == {
        "calls": 21,
        "throttled": 1,
        "worst_second": 21,
        "worst_second_accepted": 20,
    }


def test_even_spacing_passes_and_a_second_is_half_open() -> None:
    limit = CallLimit()
    assert not any(limit.arrive(n / 20, 20) for n in range(200))
    assert limit.to_json()["worst_second"] == 20


def test_refused_calls_count_unless_told_otherwise() -> None:
    burst = [n * 0.01 for n in range(30)]
    strict, lenient = CallLimit(), CallLimit()
    for at in burst:
        strict.arrive(at, 20)
        lenient.arrive(at, 20, count_rejected=False)
    # At 1.15 s both have shed the first 16 of the burst; only one remembers the refused ten.
    assert strict.arrive(1.15, 13) == 15
    assert lenient.arrive(1.15, 13, count_rejected=False) == 0


def test_a_fixed_second_starts_anew() -> None:
    limit = CallLimit()
    late = [limit.arrive(5.9, 20, window="fixed") for _ in range(20)]
    early = [limit.arrive(6.0, 20, window="fixed") for _ in range(20)]
    assert not any(late + early)
    assert limit.arrive(6.5, 20, window="fixed") == 21
    assert limit.to_json()["worst_second_accepted"] == 40


def test_a_fixed_second_may_leave_refused_calls_out() -> None:
    limit = CallLimit()
    seen = [limit.arrive(1.0, 2, window="fixed", count_rejected=False) for _ in range(4)]
    assert seen == [0, 0, 3, 3]


@given(
    st.lists(st.floats(min_value=0, max_value=0.5), min_size=1, max_size=120),
    st.integers(min_value=1, max_value=5),
    st.booleans(),
)
def test_no_second_ever_holds_more_than_the_cap(gaps: list[float], cap: int, count: bool) -> None:
    limit, now, passed = CallLimit(), 0.0, []
    for gap in gaps:
        now += gap
        if not limit.arrive(now, cap, count_rejected=count):
            passed.append(now)
    worst = max((sum(t - WINDOW_S < p <= t for p in passed) for t in passed), default=0)
    assert worst == limit.to_json()["worst_second_accepted"] <= cap


def test_no_cap_lets_everything_pass() -> None:
    limit = CallLimit()
    assert not any(limit.arrive(1.0, 0) for _ in range(1000))
