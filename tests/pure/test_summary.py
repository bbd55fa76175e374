"""Summary: counts that add up, the worst second against its oracle, and the exit code."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.errors import Exit, IllegalMove
from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.ledger.replay import Fold, folded
from batchsnap.lifecycle import WORD
from batchsnap.report.summary import Summary, exit_of, summary_of
from tests.records import AT, MOVES, birth, moved, record_of, row
from tests.windows import worst_window

BORN = 1_795_000_000.0
_STATES = tuple(dict.fromkeys(WORD.values()))


def states_of(summary: Summary) -> dict[str, int]:
    return {name: getattr(summary, name) for name in _STATES}


def sent(number: int, start_ms: int, *, after_ms: int = 100, **values: Any) -> list[Record]:
    """A row's intent and its accepted outcome, sent at `start_ms`."""
    at = BORN + start_ms / 1000
    planned = row(number, **values)
    return [
        row_record("intent", planned, 1, stamp(at - 0.01)),
        row_record(
            "accepted",
            planned,
            1,
            stamp(at + after_ms / 1000),
            snapshot_id=f"snap-{number}",
            sent_at=stamp(at + 0.0005),
        ),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(MOVES)), max_size=60),
    st.integers(0, 5),
    st.sets(st.integers(0, 9)),
)
def test_the_states_add_up_to_the_rows_of_the_newest_manifest(
    choices: list[tuple[int, str]], unseen: int, gone: set[int]
) -> None:
    fold, seen = Fold(), set()
    fold.apply(birth())
    for number, move in choices:
        try:
            fold.apply(record_of(move, number))
        except IllegalMove:
            continue
        seen.add(number)
    keys = [row(number).key for number in sorted(gone)]
    rows = len(seen - gone) + unseen
    fold.apply({"event": "resumed", "at": AT, "manifest": {"rows": rows, "gone": keys}})
    summary = summary_of(fold)
    assert summary.rows == rows
    assert sum(states_of(summary).values()) == rows
    assert min(states_of(summary).values()) >= 0
    assert summary.pending >= unseen


def test_each_state_under_its_word() -> None:
    moves = {
        1: ["intent"],
        2: ["deferred"],
        3: ["in_doubt"],
        4: ["in_doubt", "absent"],
        5: ["intent", "accepted"],
        6: ["intent", "accepted", "ready"],
        7: ["rejected"],
        8: ["gave_up"],
        9: ["intent", "accepted", "vanished"],
        10: ["intent", "accepted", "deleting"],
        11: ["intent", "accepted", "deleting", "deleted"],
        12: ["in_doubt", "accepted", "doubled", "doubled"],
        13: ["skipped"],
    }
    records = [record_of(move, number) for number, walk in moves.items() for move in walk]
    summary = summary_of(folded([birth(manifest={"rows": 20}), *records]))
    assert states_of(summary) == {
        "pending": 7 + 1,
        "skipped": 1,
        "deferred": 1,
        "in_doubt": 3,
        "accepted": 2,
        "ready": 1,
        "rejected": 1,
        "gave_up": 1,
        "deleted": 1,
        "vanished": 1,
    }
    assert summary.doubled == 1


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 80_000)), min_size=1, max_size=60),
    st.booleans(),
)
def test_the_worst_second_is_the_oracles_whatever_the_order_of_the_outcomes(
    calls: list[tuple[int, int]], spread: bool
) -> None:
    starts = [(start * (20 if spread else 1), late) for start, late in calls]
    pairs = [sent(n, start, after_ms=late) for n, (start, late) in enumerate(starts)]
    intents = [intent for intent, _ in pairs]
    outcomes = sorted((outcome for _, outcome in pairs), key=lambda record: record["at"])
    fold = folded([birth(), *intents, *outcomes])
    exact: Any = [Fraction(start, 1000) for start, _ in sorted(starts)]  # floats would round
    assert summary_of(fold).worst_second == worst_window(exact)
    assert summary_of(fold).requests == len(calls)


def test_the_worst_second_of_a_long_run_forgets_nothing_and_keeps_little() -> None:
    fold = Fold()
    fold.apply(birth())
    dense = [t + 50 * n for t in (40_000, 600_000) for n in range(25)]
    for number, start in enumerate(sorted([*range(0, 900_000, 2000), *dense])):
        for record in sent(number, start):
            fold.apply(record)
    assert summary_of(fold).worst_second == 21  # 20 of the dense ones and one of the others


def test_starts_one_second_apart_do_not_share_a_second() -> None:
    for start in range(0, 1000, 7):
        records = [*sent(1, start), *sent(2, start + 1000)]
        assert summary_of(folded([birth(), *records])).worst_second == 1
        records = [*sent(1, start), *sent(2, start + 999)]
        assert summary_of(folded([birth(), *records])).worst_second == 2


def test_a_wall_clock_set_back_makes_no_crowd() -> None:
    records = [r for n in range(10) for r in sent(n, 7_200_000 + n * 20_000)]
    records += [r for n in range(10, 20) for r in sent(n, (n - 10) * 20_000)]
    assert summary_of(folded([birth(), *records])).worst_second == 1


@pytest.mark.parametrize(
    ("endpoint", "worst"), [("https://cbs", 2), ("https://cbs.{region}.tencentcloudapi.com", 1)]
)
def test_regions_share_a_quota_unless_each_has_its_host(endpoint: str, worst: int) -> None:
    records = [*sent(1, 0, region="a"), *sent(2, 10, region="b")]
    assert summary_of(folded([birth(endpoint=endpoint), *records])).worst_second == worst


def test_profiles_have_quotas_of_their_own() -> None:
    records = [*sent(1, 0, profile="a"), *sent(2, 10, profile="b")]
    assert summary_of(folded([birth(), *records])).worst_second == 1


def test_time_counts_while_a_process_lived_and_a_summary_may_be_taken_at_any_moment() -> None:
    fold = Fold()
    fold.apply(birth(at=stamp(BORN)))
    assert summary_of(fold).elapsed_s == 0
    for record in sent(1, 9_900):  # outcome at 10 s
        fold.apply(record)
    assert summary_of(fold).elapsed_s == 10
    assert summary_of(fold) == summary_of(fold)
    fold.apply({"event": "resumed", "at": stamp(BORN + 1000)})
    for record in sent(2, 1_009_900):
        fold.apply(record)
    summary = summary_of(fold)
    assert summary.elapsed_s == 20
    assert summary.rate_per_s == 0.1
    fold.apply({"event": "finished", "at": stamp(BORN + 1020), "exit": 0})
    assert summary_of(fold).elapsed_s == 30


def test_requests_are_calls_that_were_sent_and_throttled_ones_among_them() -> None:
    records = [
        moved("intent", 1),
        moved("deferred", 1, verdict="THROTTLED", sent_at=AT),
        moved("intent", 1),
        moved("unsent", 1),
        moved("intent", 1),
        moved("in_doubt", 1, verdict="IN_DOUBT", sent_at=AT),
        moved("in_doubt", 2, code="ledger.no_outcome"),
    ]
    summary = summary_of(folded([birth(), *records]))
    assert (summary.requests, summary.throttled) == (2, 1)


def test_what_the_latest_process_halted_once_each_and_without_a_message_too() -> None:
    halt = {"code": "AuthFailure", "scope": "account"}
    records: list[Record] = [
        birth(),
        moved("halted", 1, code="old", scope="region"),
        {"event": "resumed", "at": AT},
        moved("halted", 1, **halt, message="no"),
        moved("halted", 2, **halt, message="again"),
        moved("halted", 3, scope="region"),
    ]
    assert summary_of(folded(records)).halted == (
        {"scope": "account", "profile": "", "code": "AuthFailure", "message": "no"},
        {"scope": "region", "profile": "", "region": "r", "code": "", "message": ""},
    )


def test_the_json_has_the_promised_fields() -> None:
    assert " ".join(summary_of(folded([birth()])).to_json()) == (
        "run_id rows pending deferred in_doubt accepted ready skipped rejected gave_up deleted "
        "vanished doubled requests throttled worst_second elapsed_s rate_per_s halted"
    )


# -- exit codes --------------------------------------------------------------------------------

_CALM = summary_of(folded([birth(manifest={"rows": 0})]))


def counted(**counts: int) -> Summary:
    values = {name: getattr(_CALM, name) for name in _CALM.__slots__}
    return Summary(**(values | counts))


@pytest.mark.parametrize(
    ("counts", "options", "code"),
    [
        ({}, {}, Exit.DONE),
        ({"accepted": 3, "ready": 2}, {}, Exit.DONE),
        ({"ready": 2}, {"wait": True}, Exit.DONE),
        ({"accepted": 3}, {"wait": True}, Exit.UNFINISHED),
        ({"rejected": 1}, {}, Exit.SOME_FAILED),
        ({"gave_up": 1}, {}, Exit.SOME_FAILED),
        ({"deleted": 1}, {}, Exit.SOME_FAILED),
        ({"vanished": 1}, {}, Exit.SOME_FAILED),
        ({"doubled": 1}, {}, Exit.SOME_FAILED),
        ({"pending": 1}, {}, Exit.UNFINISHED),
        ({"deferred": 1}, {}, Exit.UNFINISHED),
        ({"in_doubt": 1, "rejected": 1}, {}, Exit.UNFINISHED),
        ({}, {"owed": True}, Exit.UNFINISHED),
        ({"pending": 1}, {"halted": True}, Exit.HALTED),
        ({"doubled": 1}, {"halted": True}, Exit.HALTED),
        ({"pending": 1}, {"halted": True, "stop": Exit.INTERRUPTED}, Exit.INTERRUPTED),
        ({"rejected": 1}, {"stop": Exit.TERMINATED}, Exit.TERMINATED),
        ({"pending": 1}, {"halted": True, "stop": Exit.LEDGER}, Exit.LEDGER),
        ({}, {"stop": Exit.UNFINISHED}, Exit.UNFINISHED),
    ],
)
def test_exit_codes(counts: dict[str, int], options: dict[str, Any], code: Exit) -> None:
    calm: dict[str, Any] = {"owed": False, "stop": None, "halted": False, "wait": False}
    assert exit_of(counted(**counts), **(calm | options)) is code
