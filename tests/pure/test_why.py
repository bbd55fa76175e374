"""The one line that says why rows wait, and what is said of a fault that comes first."""

from __future__ import annotations

from typing import Any

from batchsnap.ledger.record import Record, stamp
from batchsnap.ledger.replay import Fold, folded
from batchsnap.report.progress import FirstFaults, clock_text, progress_of, total, why
from tests.ledgers import BORN
from tests.records import birth, moved


def fold_of(*records: Record, rows: int = 9, **settings: Any) -> Fold:
    first = birth(manifest={"rows": rows}, settings=settings, at=stamp(BORN))
    return folded([first, *records])


def why_of(*records: Record, rows: int = 9, now: float = 20, **settings: Any) -> str:
    return why(fold_of(*records, rows=rows, **settings), BORN + now)


def at(second: float, event: str, number: int = 1, **more: Any) -> Record:
    return {**moved(event, number, **more), "at": stamp(BORN + second)}


BUSY = {"code": "InvalidDisk.Busy", "verdict": "BUSY"}


def test_nothing_waits() -> None:
    assert why_of() == ""
    assert why_of(at(1, "intent")) == ""
    assert why_of(at(1, "intent"), at(2, "accepted", snapshot_id="snap-1")) == ""


def test_the_commonest_code_of_rows_that_come_back() -> None:
    records = [at(1, "intent", number) for number in (1, 2, 3)]
    records += [at(2, "deferred", 1, code="fault.dns", not_before=stamp(BORN + 99))]
    records += [at(2, "deferred", n, **BUSY, not_before=stamp(BORN + 40 + n)) for n in (2, 3)]

    said = why_of(*records)

    assert said.startswith("2 rows to be sent again, the next in 22 s: InvalidDisk.Busy: the disk")
    assert why_of(*records, now=50).startswith("2 rows to be sent again: InvalidDisk.Busy")


def test_doubts_say_until_when() -> None:
    records = (at(1, "intent"), at(11, "in_doubt", code="fault.reset"))
    until = clock_text(BORN + 11 + 60)

    assert why_of(*records) == f"asking about 1 row in doubt until {until} at the latest"
    until = clock_text(BORN + 11 + 120)
    assert why_of(*records, settle_for_s=120.0).endswith(f"until {until} at the latest")
    until = clock_text(BORN + 11 + 15)  # no real cloud is asked for less long
    assert why_of(*records, settle_for_s=1.0).endswith(f"until {until} at the latest")


def test_the_last_question_says_until_when() -> None:
    records = (
        at(1, "intent"),
        at(11, "in_doubt", code="fault.reset"),
        at(72, "settled", found=False, evidence="e"),
        at(73, "intent"),
        at(74, "accepted", snapshot_id="snap-1"),
    )
    until = clock_text(BORN + 11 + 300 + 60)

    said = why_of(*records, rows=1, now=80)

    assert said == f"asking once more about 1 row that was sent twice, until {until} at the latest"
    assert "asking" not in why_of(*records, rows=2, now=80)  # there is other work yet


def test_a_region_rests_and_then_no_more() -> None:
    rest = {"code": "ResourceUnavailable.TooManyCreatingSnapshot", "verdict": "BACKPRESSURE"}
    records = (at(1, "intent"), at(2, "deferred", **rest, not_before=stamp(BORN + 62)))

    assert why_of(*records).startswith(f"r rests until {clock_text(BORN + 62)}: Res")
    assert not why_of(*records, now=70).startswith("r rests")


def test_the_canary_holds_the_rest() -> None:
    made = (at(1, "intent"), at(2, "accepted", snapshot_id="snap-1"))
    ready = (at(9, "ready", snapshot_id="snap-1"),)
    held = "the canary: 0 of its 1 snapshot are ready, the rest waits"

    assert why_of(*made, canary=1) == held.replace("0 of its 1 snapshot are", "0 of 1 are")
    assert why_of(*made, *ready, canary=1) == ""
    assert why_of(*made, canary=2) == ""  # it is still being made
    part = folded([birth(manifest={"rows": 9}, settings={"canary": 1}), *made])
    assert why(part, BORN + 20, whole=False) == ""  # who sees one quota can't tell


def test_a_halt_comes_first() -> None:
    halt = at(2, "halted", code="InvalidAccount.InsufficientBalance", scope="account")

    said = why_of(at(1, "intent"), halt)

    assert said == (
        "halted account: InvalidAccount.InsufficientBalance: top up the account, then run again"
    )


def test_each_kind_of_fault_is_told_once_and_counted_as_it_grows() -> None:
    faults = FirstFaults()
    told = [
        text
        for number in range(1, 1100)
        if (text := faults.take(moved("deferred", number, code="fault.dns", message="no name.")))
    ]

    assert told == [
        "disk-00000001: fault.dns: no name: the endpoint's name can't be resolved: check DNS and "
        "--endpoint",
        "fault.dns: 10 times so far",
        "fault.dns: 100 times so far",
        "fault.dns: 1,000 times so far",
    ]
    assert "fault.tls" in faults.take(moved("deferred", code="fault.tls"))
    assert faults.take(moved("deferred", code="RequestLimitExceeded", verdict="THROTTLED")) == ""
    assert faults.take(moved("accepted", snapshot_id="snap-1")) == ""


def test_no_end_is_foretold_before_the_rest_of_a_region() -> None:
    full = {"code": "ResourceUnavailable.TooManyCreatingSnapshot", "verdict": "BACKPRESSURE"}
    made = {"snapshot_id": "snap-1", "sent_at": stamp(BORN + 1), "latency_ms": 9.0}
    records = [at(1, "intent", number) for number in range(1, 7)]
    records += [at(2, "accepted", number, **made) for number in range(2, 7)]
    fold = fold_of(*records, at(2, "deferred", **full, not_before=stamp(BORN + 62)), rows=7)

    resting = progress_of(fold, BORN + 3)
    after = progress_of(fold, BORN + 63)

    assert resting.rate_per_s > 0
    assert resting.eta_s == 59
    assert after.rests_s < 0
    assert total([resting, after]).eta_s == 59
