"""Who owns which quota, as records and the database tell it together; how it is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.ledger.ports import Owned
from batchsnap.ledger.record import Record, stamp, unstamp
from batchsnap.lifecycle import DONE, ENDED, TABLE
from batchsnap.owners.parts import Parts
from batchsnap.owners.quotas import QuotaLine, quota_lines, screen_lines
from batchsnap.report.figures import Marks
from tests.records import AT, birth, moved, record_of, row

BORN = unstamp(AT)


def at(second: float) -> str:
    return stamp(BORN + second)


def claimed(quota: int, worker: str, second: float = 1, **more: Any) -> Record:
    return {
        "event": "claimed", "at": at(second), "source": f"key:{quota}", "host": "cbs",
        "worker": worker, "profiles": [f"p{quota}"], "rows": 10, **more,
    }  # type: ignore[return-value]  # fmt: skip


def released(quota: int, second: float = 9, **more: Any) -> Record:
    return {"event": "released", "at": at(second), "source": f"key:{quota}", "host": "cbs", **more}  # type: ignore[return-value]


def of_row(event: str, number: int, quota: int, second: float = 2, **more: Any) -> Record:
    return {**moved(event, number, **more), "profile": f"p{quota}", "at": at(second)}  # type: ignore[return-value]


def made(number: int, quota: int, second: float = 2) -> list[Record]:
    return [
        of_row("intent", number, quota, second),
        of_row("accepted", number, quota, second, snapshot_id="snap-1"),
    ]


def parts_of(*records: Record) -> Parts:
    parts = Parts()
    parts.apply(birth(manifest={"rows": 20}))
    for record in records:
        parts.apply(record)
    return parts


def owned(quota: int, *, held: bool = True, ended: str = "") -> Owned:
    return Owned(f"key:{quota}", "cbs", (f"p{quota}",), 10, ended, held)


def test_each_quota_has_its_own_rows_pace_and_owner() -> None:
    parts = parts_of(
        claimed(1, "a:1"),
        claimed(2, "b:2", 3),
        *made(1, 1), *made(2, 1, 4), *made(3, 2, 4),
        of_row("intent", 4, 2), of_row("rejected", 4, 2, code="InvalidDisk.NotSupported"),
        of_row("intent", 5, 2), of_row("deferred", 5, 2, code="InvalidDisk.Busy"),
    )  # fmt: skip

    one, two = parts.now([owned(1), owned(2)], BORN + 12)

    assert (one.name, one.owner, one.since, one.left, one.failed) == ("p1", "a:1", at(1), 8, 0)
    assert (two.name, two.owner, two.since, two.left, two.failed) == ("p2", "b:2", at(3), 8, 1)
    assert [line.rate_per_s for line in (one, two)] == pytest.approx([2 / 10, 1 / 8], rel=0.01)
    assert parts.fold.words["accepted"] == 3


def test_who_holds_no_lock_is_gone_and_who_gave_back_is_not() -> None:
    parts = parts_of(claimed(1, "a:1"), claimed(2, "b:2"), released(2, ended=None), claimed(3, "c"))

    gone, free, other = parts.now([owned(1, held=False), owned(2, held=False), owned(4)], BORN)

    assert (gone.owner, gone.former) == ("", "a:1")
    assert (free.owner, free.former) == ("", "")
    assert other.owner == "a run of another ledger"
    told = "\n".join(quota_lines([gone, free, other], BORN))
    assert "p1  nobody works on it (a:1 has gone), 10 left" in told
    assert "p2  nobody works on it, 10 left" in told
    assert "3 quotas: 1 owned by 1 worker, 2 without an owner" in told


def test_one_that_halted_or_gave_up_says_why_until_the_run_is_taken_up_again() -> None:
    halted = of_row("halted", 1, 1, code="UnauthorizedOperation", message="denied")
    lost = of_row("deferred", 2, 2, code="ResourceUnavailable", message="later")
    parts = parts_of(
        claimed(1, "a:1"), halted, released(1, ended="halted"),
        claimed(2, "b:2"), lost, released(2, ended="gave_up"),
        claimed(3, "b:2"), *made(9, 3), released(3, ended="done"),
    )  # fmt: skip

    from_records = parts.now([], BORN)
    told = quota_lines(from_records, BORN)

    assert told[1:] == [
        "    p1  halted, 10 left: UnauthorizedOperation: denied",
        "    p2  gave up, 10 left: ResourceUnavailable: later",
        "    p3  done",
    ]
    parts.apply(claimed(3, "w:9"))  # to wait for what was made: that ends nothing
    parts.apply(released(3))
    assert parts.now([], BORN)[2].ended == "done"
    parts.apply({"event": "resumed", "at": AT, "manifest": {"rows": 20}})
    assert [line.ended for line in parts.now([], BORN)] == ["", "", "done"]


def test_rows_that_left_the_manifest_are_not_counted_as_failed() -> None:
    rejected = [of_row("intent", 1, 1), of_row("rejected", 1, 1, code="InvalidDisk")]
    parts = parts_of(claimed(1, "a:1"), *rejected, released(1, ended="done"))
    key = rejected[0]["key"]

    parts.apply({"event": "resumed", "at": AT, "manifest": {"rows": 9, "gone": [key]}})
    parts.apply(claimed(1, "a:2", rows=9))

    [line] = parts.now([], BORN)
    assert (line.failed, line.left) == (0, 9)


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 99)), max_size=120))
def test_whatever_happens_to_rows_a_quota_counts_as_the_fold_does(
    steps: list[tuple[int, int]],
) -> None:
    parts = parts_of(claimed(0, "a:1", rows=50), claimed(1, "b:2", rows=50))
    for number, choice in steps:
        moves = sorted(TABLE[parts.fold.standing(row(number).key).state])
        if moves:
            record = record_of(moves[choice % len(moves)], number)
            parts.apply({**record, "profile": f"p{number % 2}"})

    for quota, line in enumerate(parts.now([], BORN)):
        states = [parts.fold.standing(row(n).key).state for n in range(quota, 12, 2)]
        failed = sum(state in ENDED for state in states)
        assert line.failed == failed
        assert line.left == 50 - failed - sum(state in DONE for state in states)


def test_a_takeover_is_a_claim_of_what_another_had_not_given_back() -> None:
    parts, marks = Parts(), Marks()
    parts.apply(birth())
    for record in (
        claimed(1, "a:1"), claimed(2, "a:1"), claimed(3, "a:1"), claimed(4, "b:2"),
        released(3), claimed(3, "b:2", 4),  # given back
        claimed(4, "b:2", 5),  # its own, after a lost session
        claimed(1, "b:2", 6), claimed(2, "c:3", 7),
        claimed(4, "c:3", 70),
    ):  # fmt: skip
        marks.add(record)
        if (takeover := parts.apply(record)) is not None:
            marks.take_over(takeover)

    assert [(mark.word, mark.at - BORN, mark.text) for mark in marks.found] == [
        ("taken over", 6, "b:2, c:3 took over 2 quotas of a:1"),
        ("taken over", 70, "c:3 took over p4 of b:2"),
    ]


def test_a_quota_of_which_nothing_is_left_to_send_may_still_owe_a_question() -> None:
    parts = parts_of(claimed(1, "a:1"), *(event for row in range(10) for event in made(row, 1)))

    told = [quota_lines(parts.now([owned(1, held=held)], BORN), BORN)[1] for held in (True, False)]

    assert told[0].endswith("/s, nothing left to send")
    assert told[1].endswith("nobody works on it (a:1 has gone), nothing left to send")


def test_a_hundred_quotas_are_a_few_lines_and_all_where_that_is_asked_for() -> None:
    def line(number: int) -> QuotaLine:
        ended = "halted" if number == 50 else "done" if number % 3 == 0 else ""
        owner = "" if ended or number == 70 else f"ops-{number % 10}:7"
        why = "AuthFailure" if ended == "halted" else ""
        return QuotaLine(
            f"p{number}", f"key:{number}", "cbs", (f"p{number}",), owner, "", AT,
            *(100, 0, number, 2.0 if owner else 0.0, ended, why),
        )  # fmt: skip

    lines = [line(number) for number in range(100)]
    told = quota_lines(lines, BORN)

    assert len(told) < 20
    assert told[0] == "  100 quotas: 64 owned by 10 workers, 1 without an owner, 34 done, 1 halted"
    assert any("p50  halted, 50 left: AuthFailure" in text for text in told)
    assert any("p70  nobody works on it, 70 left" in text for text in told)
    assert "status --quotas" in "\n".join(told)
    assert len(quota_lines(lines, BORN, each=True)) == 101
    assert len(screen_lines(lines, BORN)) <= 11
    assert any("p50  halted" in text for text in screen_lines(lines, BORN))
