"""Records into what people read: facts, figures, cells, reasons, and how a run is doing now."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.ledger.record import Record, stamp
from batchsnap.ledger.replay import Fold, folded
from batchsnap.model import DiskRow
from batchsnap.report.figures import Marks, TimeSeries, columns
from batchsnap.report.files import facts_csv, failed_manifest
from batchsnap.report.page import headline, lede
from batchsnap.report.progress import status_lines
from batchsnap.report.story import RowFact, RowFacts
from batchsnap.report.summary import Summary, outcomes_of, reasons_of, summary_of, summary_text
from tests.ledgers import BORN
from tests.records import birth, moved

WHY: dict[str, Any] = {"code": "InvalidDisk.NotSupported", "message": "no", "request_id": "req-2"}


def facts_of(*records: Record) -> RowFact:
    """What these records of one row come to."""
    fold, facts = Fold(), RowFacts()
    for record in (birth(manifest={"rows": 1}), *records):
        fold.apply(record)
        facts.add(record)
    facts.close(fold)
    [fact] = facts.by_key.values()
    return fact


def counted(**values: Any) -> Summary:
    """A Summary with these counts and no others."""
    plain = summary_of(folded([birth()])).to_json()
    return Summary(**{**plain, "pending": 0, "halted": (), **values})


REFUSED_AFTER_DOUBT = (
    moved("intent"),
    moved("in_doubt", code="fault.reset", message="reset"),
    moved("settled", found=False, evidence="none"),
    moved("intent"),
    moved("rejected", **WHY),
    moved("settled", found=False, final=True, evidence="none"),
)


def test_the_last_question_takes_no_reason_away() -> None:
    fact = facts_of(*REFUSED_AFTER_DOUBT)
    fold = folded([birth(), *REFUSED_AFTER_DOUBT])

    assert (fact.state, fact.code, fact.message) == ("rejected", WHY["code"], "no")
    assert fact.remedy == "take the disk out of the manifest"
    assert list(outcomes_of(fold)) == [("disk-00000001", "rejected", WHY["code"], "no")]


def test_a_row_with_its_snapshot_tells_no_older_trouble() -> None:
    records = (
        moved("intent"),
        moved("deferred", code="RequestLimitExceeded", message="fast", request_id="req-1"),
        moved("intent"),
        moved("in_doubt", code="fault.reset", message="reset"),
        moved("settled", found=True, snapshot_id="snap-1", evidence="e"),
        moved("accepted", snapshot_id="snap-1"),
        moved("halted", code="AuthFailure", message="of a neighbour", scope="account"),
    )

    fact = facts_of(*records)

    assert (fact.state, fact.snapshot_id) == ("accepted", "snap-1")
    assert (fact.code, fact.message, fact.remedy) == ("", "", "")
    assert fact.request_id == ""  # req-1 was of a call that made nothing
    assert list(outcomes_of(folded([birth(), *records]))) == []


def test_a_doubled_row_names_both_snapshots() -> None:
    fact = facts_of(
        moved("intent"),
        moved("accepted", snapshot_id="snap-1"),
        moved("doubled", snapshot_ids=["snap-1", "snap-2"]),
    )

    assert fact.snapshot_ids == "snap-1 snap-2"
    assert "snap-2" in fact.remedy
    assert "snap-1 snap-2" in facts_csv([fact])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
def test_no_cell_is_a_formula(start: str) -> None:
    fact = RowFact("k", "disk-1", "", "r", "", message=f"{start}1+1", snapshot_name=f"{start}2")

    text = facts_csv([fact])
    [row] = csv.DictReader(io.StringIO(text, newline=""))

    assert (row["message"], row["snapshot_name"]) == (f"'{start}1+1", f"'{start}2")
    assert row["disk_id"] == "disk-1"
    assert text.startswith("disk_id,") and text.endswith("\r\n")


def test_failed_rows_keep_what_they_brought() -> None:
    own = RowFact("a", "a", "", "r", "", "rejected", snapshot_name="mine", named=True)
    made_up = RowFact("b", "b", "", "r", "p", "gave_up", snapshot_name="template-b")
    well = RowFact("c", "c", "", "r", "", "accepted")
    row = DiskRow(1, "b", "", "r", "p", "hers", "2027-01-08T09:47:55+00:00", "", (("k", "v"),))

    without = list(csv.DictReader(io.StringIO(failed_manifest([own, made_up, well], []))))
    [_, known] = csv.DictReader(io.StringIO(failed_manifest([own, made_up, well], [row])))

    assert [(r["DiskId"], r["SnapshotName"]) for r in without] == [("a", "mine"), ("b", "")]
    assert (known["SnapshotName"], known["Tags"], known["Profile"]) == ("hers", "k=v", "p")
    assert known["Deadline"] == row.deadline


def sent(at: float, number: int = 1, **more: Any) -> Record:
    """An outcome of a call that was sent `at` seconds after the birth."""
    timing = {"sent_at": stamp(BORN + at), "latency_ms": 100.0}
    return {**moved("accepted", number), **timing, **more}  # type: ignore[typeddict-item]


def test_thinning_hides_no_peak() -> None:
    series = TimeSeries()
    series.add(birth(settings={"rate_per_s": 20.0}, at=stamp(BORN)))
    for second in range(0, 36_000, 7):
        series.add(sent(second))
    for _ in range(23):
        series.add(sent(17_777.4))

    told = series.to_json()

    assert len(told["t"]) <= 1500
    assert {len(column) for column in told.values()} == {len(told["t"])}
    assert max(told["starts"]) == 23
    assert sum(n == 23 for n in told["starts"]) == 1


def test_a_host_for_each_region_is_a_quota_for_each() -> None:
    shared, own = TimeSeries(), TimeSeries()
    shared.add(birth(endpoint="https://cbs"))
    own.add(birth(endpoint="https://cbs.{region}"))
    for series in (shared, own):
        series.add(sent(1.0, region="r1"))
        series.add(sent(1.5, region="r2"))

    assert shared.to_json()["starts"] == [2]
    assert own.to_json()["starts"] == [1]


def test_the_cap_is_the_one_in_force_at_the_time() -> None:
    series = TimeSeries()
    series.add(birth(settings={"rate_per_s": 20.0}, at=stamp(BORN)))
    series.add(sent(0))
    series.add({"event": "resumed", "at": stamp(BORN + 2), "settings": {"rate_per_s": 5.0}})
    series.add(sent(3))

    assert series.to_json()["cap"] == [20.0, 20.0, 5.0, 5.0]
    assert series.cap == 20.0


@given(st.lists(st.tuples(st.text(max_size=3), st.sampled_from("ab")), max_size=40))
def test_columns_give_every_cell_back(rows: list[tuple[str, ...]]) -> None:
    table = columns(rows, ("free", "few"))

    def cell(name: str, row: int) -> str:
        column = table[name]
        text = column["values"][row] if "values" in column else column["words"][column["at"][row]]
        return str(text)

    assert [(cell("free", i), cell("few", i)) for i in range(len(rows))] == rows
    assert len(rows) < 5 or "words" in table["few"]


def test_accepted_is_not_called_ready() -> None:
    ordered = counted(rows=5, accepted=5)
    mixed = counted(rows=5, accepted=2, ready=1, rejected=1, pending=1)

    assert headline(ordered) == "All 5 snapshots are ordered, none known ready yet"
    assert headline(counted(rows=5, ready=5)) == "All 5 snapshots are ready"
    assert headline(mixed) == "3 of 5 snapshots are ordered, 1 of them known ready"
    assert headline(counted(rows=5, pending=5)) == "None of 5 snapshots is made"
    stopped = {"halted": ({"scope": "account", "code": "AuthFailure"},)}
    assert headline(replace(mixed, **stopped)).startswith("Halted: 3 of 5 snapshots are ordered")
    assert headline(replace(counted(rows=5, pending=5), **stopped)).startswith("Halted: none of 5")
    assert [text.split()[0:2] for text in lede(mixed)] == [
        ["2", "accepted:"],
        ["1", "unfinished:"],
        ["1", "have"],
    ]


def test_the_commonest_reason_comes_first_with_its_remedy() -> None:
    outcomes = [("disk-0", "gave_up", "ResourceBusy", "b")] + [
        (f"disk-{i}", "rejected", WHY["code"], f"m{i}") for i in "12"
    ]

    reasons = reasons_of(outcomes)
    text = summary_text(counted(rows=3, rejected=2, gave_up=1), reasons)

    assert [(r.rows, r.message) for r in reasons] == [(2, "m1"), (1, "b")]
    assert "2 rejected: InvalidDisk.NotSupported: m1\n    take the disk out" in text
    assert "out of the manifest (first: disk-1)" in text
    assert "1 gave up: ResourceBusy: b\n    run again: it takes the row up once more" in text


def doing_now(*records: Record, now: float, rows: int = 9) -> list[str]:
    fold = folded([birth(manifest={"rows": rows}, at=stamp(BORN)), *records])
    return status_lines(fold, BORN + now)


def test_now_tells_rate_eta_doubts_and_the_next_deferral() -> None:
    def at(second: float, event: str, number: int, **more: Any) -> Record:
        return {**moved(event, number, **more), "at": stamp(BORN + second)}

    records = [
        *(at(1, "intent", i) for i in range(7)),
        at(10, "accepted", 0),
        at(10, "accepted", 6),
        at(11, "in_doubt", 1, code="fault.reset"),
        at(12, "deferred", 2, code="ResourceBusy", not_before=stamp(BORN + 50)),
        at(12, "deferred", 3, code="ResourceBusy", not_before=stamp(BORN + 90)),
    ]

    lines = doing_now(*records, now=20)

    assert lines == [
        "  last minute 0.2/s, 7 left, ETA 35 s",
        "  2 rows to be sent again, the next in 30 s: ResourceBusy: operations on one instance run "
        "one after another; it is tried again",
        "  2 rows wait for their reply",
        "  in doubt: disk-00000001",
        "  next deferred row in 30 s",
    ]
    assert "ETA unknown" in doing_now(*records, now=80)[0]
    long_after = doing_now(*records, now=400)
    # nobody is waiting for a reply any more
    assert "  in doubt: disk-00000001, disk-00000004, disk-00000005" in long_after
    assert long_after[-1].startswith("  nothing was written for 6 min 28 s")
    assert doing_now(now=1, rows=0) == []


def test_nobody_is_waited_for_where_nobody_is_at_work() -> None:
    records = [moved("intent"), moved("in_doubt", 2, code="fault.reset")]
    fold = folded([birth(manifest={"rows": 3}), *records[:1]])

    assert status_lines(fold, BORN + 1, over=True) == ["  in doubt: disk-00000001"]


def test_the_rate_is_that_of_the_sending() -> None:
    """However long it was waited after it, and in each life."""
    at = [stamp(BORN + second) for second in (5, 10, 500, 600, 604, 900)]
    records: list[Record] = [
        moved("intent", 1), {**moved("accepted", 1, snapshot_id="snap-1"), "at": at[0]},
        moved("intent", 2), {**moved("accepted", 2, snapshot_id="snap-2"), "at": at[1]},
        {**moved("ready", 1, snapshot_id="snap-1"), "at": at[2]},
        {"event": "resumed", "at": at[3]},
        moved("intent", 3), {**moved("accepted", 3, snapshot_id="snap-3"), "at": at[4]},
        {**moved("ready", 3, snapshot_id="snap-3"), "at": at[5]},
    ]  # fmt: skip
    summary = summary_of(folded([birth(at=stamp(BORN)), *records]))

    assert summary.elapsed_s == 500 + 300
    assert summary.rate_per_s == round(3 / (10 + 4), 2)


def test_a_run_that_ended_has_no_eta_but_its_doubts() -> None:
    end: Record = {"event": "finished", "at": stamp(BORN + 5), "exit": 5}

    lines = doing_now(moved("intent"), end, now=10_000)

    assert lines == ["  in doubt: disk-00000001"]


def test_what_changed_the_run_is_marked_on_its_time_line() -> None:
    marks = Marks()
    for record in (
        birth(settings={"canary": 2}),
        moved("ready", snapshot_id="snap-1"),
        moved("ready", snapshot_id="snap-2"),
        moved("ready", snapshot_id="snap-3"),
        moved("halted", code="AuthFailure"),
        {"event": "resumed", "at": stamp(BORN + 9)},
        {"event": "stopped", "at": stamp(BORN + 9), "exit": 5},
        {"event": "stopped", "at": stamp(BORN + 9), "exit": 130, "reason": "SIGINT"},
        moved("doubled", snapshot_ids=["snap-1", "snap-4"]),
    ):
        marks.add(record)
    assert [mark.word for mark in marks.found] == [
        *("canary", "halted", "resumed", "stopped", "stopped", "twice")
    ]
    assert [mark.text for mark in marks.found if mark.word in {"halted", "stopped"}] == [
        "halted by AuthFailure",
        "stopped: exit 5",
        "stopped: SIGINT",
    ]
    for _ in range(50):
        marks.add({"event": "resumed", "at": stamp(BORN + 9)})
    assert (len(marks.found), marks.more) == (30, 26)
