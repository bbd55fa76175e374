"""One fold tells all who ask: rows of the newest manifest, and what processes beside each other
came to."""

from __future__ import annotations

import tracemalloc
from bisect import bisect_left
from random import Random
from typing import Any

import pytest

from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.ledger.replay import Fold, folded
from batchsnap.ledger.tally import WorstSecond
from batchsnap.report.progress import progress_of
from batchsnap.report.summary import summary_of
from tests.records import AT, birth, moved, row

BORN = 1_795_500_000.0


def at(second: float, event: str, number: int = 1, **more: Any) -> Record:
    return {**moved(event, number, **more), "at": stamp(BORN + second)}


def of_run(second: float, event: str, **more: Any) -> Record:
    return {"event": event, "at": stamp(BORN + second), **more}  # type: ignore[typeddict-item]


def born(rows: int = 10) -> Record:
    return birth(manifest={"rows": rows}, at=stamp(BORN))


def test_after_an_edit_all_count_the_rows_of_the_newest_manifest() -> None:
    """Ten rows, five made; the manifest then loses those five and two others: three are left."""
    made = [r for i in range(5) for r in (at(1, "intent", i), at(2, "accepted", i))]
    fold = folded([born(), *made])
    gone = [f"disk-{i:08x}" for i in range(5)]
    fold.expect(3, gone)  # known at the intake, before the record
    for resumed in (False, True):
        if resumed:
            manifest = {"rows": 3, "gone": gone}
            fold.apply(of_run(3, "resumed", tool="t", settings={}, manifest=manifest))
        now, summary = progress_of(fold, BORN + 4), summary_of(fold)
        assert (now.rows, now.done, now.pending, now.left) == (3, 0, 3, 3)
        assert (summary.rows, summary.accepted, summary.pending) == (3, 0, 3)
        assert sum(fold.words.values()) == fold.rows == 3


def test_words_add_up_to_the_rows_in_every_state() -> None:
    fold = folded([born(), at(1, "intent", 1), at(1, "intent", 2), at(2, "in_doubt", 2)])
    now = progress_of(fold, BORN + 3)
    assert (now.flying, now.in_doubt, now.pending) == (1, 1, 8)
    dead = progress_of(fold, BORN + 1000)
    assert (dead.flying, dead.in_doubt, dead.left) == (0, 2, 10)


CLAIMS = [
    of_run(10, "claimed", source="a", host="x", worker="one:1"),
    of_run(12, "claimed", source="b", host="x", worker="two:1"),
    of_run(14, "claimed", source="c", host="y", worker="two:1"),
]


def test_lives_beside_each_other_count_once() -> None:
    fold = folded([born(), *CLAIMS, at(20, "intent")])
    assert fold.tally.elapsed_s == 10.0
    fold.apply(of_run(22, "claimed", source="a", host="x"))  # taken over while the others live
    for source, host in (("a", "x"), ("b", "x"), ("c", "y")):
        fold.apply(of_run(30, "released", source=source, host=host))
    assert fold.tally.elapsed_s == 20.0
    fold.apply(of_run(100, "claimed", source="b", host="x"))  # nobody lived in between
    fold.apply(at(105, "unsent"))
    assert fold.tally.elapsed_s == 25.0


def test_the_time_in_which_all_owners_were_dead_is_no_life() -> None:
    def claims(second: float, worker: str) -> list[Record]:
        return [of_run(second, "claimed", source=s, host="x", worker=worker) for s in ("a", "b")]

    fold = folded([born(), *claims(10, "one:1"), at(20, "intent")])
    for record in (*claims(500, "two:1"), at(505, "unsent")):
        fold.apply(record)
    assert fold.tally.elapsed_s == 15.0


def test_a_claim_of_one_quota_leaves_the_halts_of_others() -> None:
    def halts(fold: Fold) -> list[str]:
        return [halt["region"] for halt in fold.tally.halted]

    fold = folded([born(), *CLAIMS, at(20, "halted", code="AuthFailure", scope="region")])
    there = {**at(21, "halted", 2, code="AuthFailure", scope="region"), "region": "elsewhere"}
    fold.apply(there)
    assert halts(fold) == ["r", "elsewhere"]
    fold.apply(at(22, "intent"))  # was on its way already
    assert halts(fold) == ["r", "elsewhere"]
    fold.apply(of_run(30, "claimed", source="a", host="x"))
    assert halts(fold) == ["r", "elsewhere"]
    fold.apply(at(31, "intent", 3))  # its new owner sends again
    assert halts(fold) == ["elsewhere"]


@pytest.mark.parametrize("starts_a_ms", [1, 40])
def test_the_worst_second_is_kept_by_the_millisecond(starts_a_ms: int) -> None:
    """However many calls are made, its memory is that of the moments, not of the calls."""
    worst = WorstSecond(late_s=5.0)
    for ms in range(3000):
        for _ in range(starts_a_ms):
            worst.add(in_ms(ms), AT)
    assert worst.worst == 1000 * starts_a_ms
    assert len(worst._starts) == 3000


def in_ms(number: int) -> str:
    return stamp(BORN + number / 1000)


def test_a_row_that_is_made_costs_a_key_and_an_entry() -> None:
    def run(rows: int) -> int:
        """Bytes that the fold of so many made rows holds."""
        tracemalloc.start()
        fold = Fold()
        fold.apply(born(rows))
        for number in range(rows):
            when = stamp(BORN + number / 16_000)
            sent: dict[str, Any] = {"sent_at": when, "latency_ms": 1.0}
            fold.apply(row_record("intent", row(number), 1, when, snapshot_name="n"))
            fold.apply(row_record("accepted", row(number), 1, when, snapshot_id="s", **sent))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert fold.tally.requests == rows
        return held

    few, many = 10_000, 40_000
    assert (run(many) - run(few)) / (many - few) < 140


@pytest.mark.parametrize("seed", range(5))
def test_the_worst_second_is_that_of_all_starts_sorted(seed: int) -> None:
    """They come up to a second late, and are looked at many at a time."""
    rand = Random(seed)
    starts = [round(number * (9 + seed) + rand.random() * 1000) for number in range(4000)]
    worst = WorstSecond(late_s=1.1)
    for start in starts:
        worst.add(in_ms(start), AT)
    starts.sort()
    within = (bisect_left(starts, start + 1000) - i for i, start in enumerate(starts))
    assert worst.worst == max(within)


@pytest.mark.parametrize("back_ms", [60, 2000, 60_000, 3_600_000])
def test_a_wall_clock_that_is_set_back_makes_no_second_worse(back_ms: int) -> None:
    """Twenty a second, and from then on each moment a second time."""
    fold = folded([born()])

    def starts(first_ms: int, number: int, every_ms: int) -> None:
        for ms in range(first_ms, first_ms + number * every_ms, every_ms):
            fold.apply(at(ms / 1000, "intent"))
            fold.apply(at(ms / 1000, "deferred", sent_at=in_ms(ms)))

    starts(0, 4000, 50)
    starts(200_000 - back_ms, 4000, 50)
    assert fold.tally.worst_second == 20
    starts(400_000, 30, 45)
    assert fold.tally.worst_second == 23


@pytest.mark.parametrize("by_ms", [300, 2000, 60_000])
def test_calls_that_are_out_while_the_clock_is_set_back_fill_no_later_second(by_ms: int) -> None:
    """Their starts are of the former time, where those of the new one may stand once more."""
    worst, apart_ms, took_ms, at_ms = WorstSecond(late_s=90.0), 51, 500, 5000

    def clock(ms: int) -> int:
        return ms if ms < at_ms else ms - by_ms

    for start in range(0, 80_000, apart_ms):
        worst.add(in_ms(clock(start)), in_ms(clock(start + took_ms)), took_ms)
    assert worst.worst == 20
