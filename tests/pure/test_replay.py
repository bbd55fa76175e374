"""Scan and Fold: the longest true prefix is believed, a damaged middle refused, and no record
that the life of its row forbids is taken."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.errors import IllegalMove, LedgerDamaged, LedgerForeign
from batchsnap.ledger.record import VERSION, Record, decode, encode
from batchsnap.ledger.replay import Fold
from batchsnap.ledger.scan import Scan
from batchsnap.lifecycle import NEW, State
from tests.records import AT, MOVES, birth, lines_of, moved, record_of

_SIX = [
    moved("intent", 1),
    moved("intent", 2),
    moved("accepted", 1, snapshot_id="snap-1"),
    moved("in_doubt", 2, code="fault.timeout"),
    moved("intent", 3),
    moved("accepted", 3, snapshot_id="snap-3"),
]
_SYNCED = [0, 0, 2, 2, 4, 4]  # 4 is the last that is known durable
_LINES = lines_of(_SIX, _SYNCED)
_STARTS = [sum(map(len, _LINES[:n])) for n in range(len(_LINES) + 1)]


def scanned(data: bytes) -> tuple[Scan, list[Record]]:
    scan = Scan(data.splitlines(keepends=True))
    return scan, list(scan)


def refused_at(data: bytes) -> int:
    """The offset at which these bytes are refused as damaged."""
    with pytest.raises(LedgerDamaged) as caught:
        scanned(data)
    offset = re.search(r"at byte (\d+)", str(caught.value))
    assert offset is not None
    return int(offset[1])


TRUE = scanned(b"".join(_LINES))[1]


def test_a_whole_ledger() -> None:
    scan, records = scanned(b"".join(_LINES))
    assert [r["event"] for r in records] == ["run", *(r["event"] for r in _SIX)]
    assert (scan.end, scan.last_seq, scan.synced, scan.damaged) == (_STARTS[-1], 6, 4, False)


@pytest.mark.parametrize("number", range(len(_LINES)))
def test_every_bit_of_every_record(number: int) -> None:
    """Line `number` with each of its bits flipped in turn."""
    before, after = b"".join(_LINES[:number]), b"".join(_LINES[number + 1 :])
    for bit in range(len(_LINES[number]) * 8):
        line = bytearray(_LINES[number])
        line[bit // 8] ^= 1 << bit % 8
        lines = (before + bytes(line) + after).split(b"\n")
        scan = Scan([*(part + b"\n" for part in lines[:-1]), *([lines[-1]] if lines[-1] else [])])
        believed: list[Record] = []
        if number <= 4:
            with pytest.raises((LedgerDamaged, LedgerForeign)) as caught:
                believed.extend(scan)
            if caught.type is LedgerDamaged:
                assert f"at byte {_STARTS[number]}:" in str(caught.value)
            else:
                assert number == 0
        else:
            believed.extend(scan)
            assert scan.damaged
            assert (scan.end, scan.last_seq) == (_STARTS[number], number - 1)
            assert believed == TRUE[:number]


@pytest.mark.parametrize("tail", [b"\0" * 700, b"\0\n\0", b"{", b"\n", b"\xff\xfe", _LINES[6][:-1]])
def test_a_torn_end_is_cut(tail: bytes) -> None:
    scan, records = scanned(b"".join(_LINES[:6]) + tail)
    assert records == TRUE[:6]
    assert (scan.end, scan.damaged) == (_STARTS[6], True)


def test_a_group_torn_in_its_middle_is_cut_whole() -> None:
    records = [moved("intent", n) for n in range(1, 7)]
    lines = lines_of(records, [0, 0, 2, 2, 2, 2])
    lines[4] = b"\0" * len(lines[4])
    data = b"".join(lines[:4]) + lines[4] + b"\n" + b"".join(lines[5:])
    scan, believed = scanned(data)
    assert (len(believed), scan.damaged) == (4, True)
    assert (scan.last_seq, scan.synced, scan.end) == (3, 2, sum(map(len, lines[:4])))


def test_a_later_line_that_declares_the_damaged_one_durable_refuses() -> None:
    records = [moved("intent", n) for n in range(1, 7)]
    lines = lines_of(records, [0, 0, 2, 2, 2, 4])
    lines[4] = lines[4].replace(b"intent", b"INTENT")
    assert refused_at(b"".join(lines)) == sum(map(len, lines[:4]))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_durable_line_deleted_doubled_or_swapped(number: int) -> None:
    gone = _LINES[:number] + _LINES[number + 1 :]
    assert refused_at(b"".join(gone)) == _STARTS[number]
    swapped = list(_LINES)
    swapped[number], swapped[number - 1] = swapped[number - 1], swapped[number]
    if number > 1:
        assert refused_at(b"".join(swapped)) == _STARTS[number - 1]
    doubled = [*_LINES[: number + 1], *_LINES[number:]]
    if number < 4:
        assert refused_at(b"".join(doubled)) == _STARTS[number + 1]
    else:  # the record itself stands; from its copy on nothing was known durable
        scan, believed = scanned(b"".join(doubled))
        assert believed == TRUE[:5]
        assert scan.damaged


@pytest.mark.parametrize("forged", [6, 7, 999, -1, 1, None, "4", 4.5])
def test_a_forged_synced_is_no_record(forged: Any) -> None:
    """It lies behind its own record and never goes back: else nobody wrote it."""
    lines = list(_LINES)
    lines[6] = encode({"seq": 6, "synced": forged, **_SIX[5]})
    scan, believed = scanned(b"".join(lines))
    assert believed == TRUE[:6]
    assert scan.synced == 4
    assert scan.damaged


def test_a_forged_synced_behind_damage_refuses() -> None:
    torn = b"".join(_LINES[:6]) + b"torn\n"
    scanned(torn)
    forged = encode({"seq": 8, "synced": 7, **_SIX[5]})
    assert refused_at(torn + forged) == _STARTS[6]
    scanned(torn + encode({"seq": 8, "synced": "7", **_SIX[5]}))  # type: ignore[typeddict-item]
    scanned(torn + encode({"a": 1}))  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"level":"info","msg":"started"}\n{"level":"info"}\n', "first line is no `run`"),
        (b"DiskId,Region\ndisk-1,ap-guangzhou\n", "first line is no `run`"),
        (b"\x7fELF\0\0\0", "first line is no `run`"),
        (encode(moved("intent")), "first line is no `run`"),
        (encode(birth(v=VERSION + 1)), f"version {VERSION + 1}"),
        (encode(birth(v="1")), "version 1"),
    ],
)
def test_what_is_no_ledger_of_ours_is_foreign(data: bytes, said: str) -> None:
    with pytest.raises(LedgerForeign, match=said):
        scanned(data)


def test_a_damaged_birth_is_damage_and_not_foreign() -> None:
    with pytest.raises(LedgerDamaged, match="is empty"):
        scanned(b"")
    assert refused_at(_LINES[0].replace(b"0f", b"1f") + _LINES[1]) == 0
    assert refused_at(_LINES[0][:-1]) == 0
    assert refused_at(b"".join(_LINES[1:])) == 0


# -- the fold ----------------------------------------------------------------------------------


def folded(*records: Record) -> Fold:
    fold = Fold()
    for record in (birth(), *records):
        fold.apply(record)
    return fold


def state_of(fold: Fold) -> dict[str, Any]:
    """All that a fold holds, without the numbers that only a written record has."""

    def bare(record: Record) -> dict[str, Any]:
        return {k: v for k, v in record.items() if k not in {"seq", "synced", "crc"}}

    return {
        "standings": {k: (p.standing, p.at_rest) for k, p in fold.cohorts.items()},
        "intents": {k: bare(r) for k, r in fold.intents.items()},
        "latest": {k: bare(r) for k, r in fold.latest.items()},
        "counts": fold.counts,
        "owed": fold.owed,
        "run": (bare(fold.header), fold.settings, fold.manifest, fold.gone, fold.recovered),
        "finished": None if fold.finished is None else bare(fold.finished),
        "backups": set(fold.backup_disks),
    }


_CHOICES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(MOVES)), max_size=60)


@given(_CHOICES)
def test_a_live_fold_and_a_replayed_one_agree(choices: list[tuple[int, str]]) -> None:
    live, written = folded(), [encode(birth())]
    for number, move in choices:
        record = record_of(move, number)
        before = state_of(live)
        try:
            live.apply(record)
        except IllegalMove as error:
            assert state_of(live) == before
            assert f"disk-{number:08x}" in str(error)
            continue
        seq = len(written)
        written.append(encode({"seq": seq, "synced": seq - 1, **record}))
    replayed = Fold()
    for record in Scan(written):
        replayed.apply(record)
    assert state_of(replayed) == state_of(live)
    assert sum(live.counts.values()) == len(live.cohorts)


def test_the_first_record_of_a_row_may_be_illegal_and_leaves_no_trace() -> None:
    fold = folded()
    before = state_of(fold)
    with pytest.raises(IllegalMove, match="pending cannot take 'accepted'"):
        fold.apply(moved("accepted", 1, snapshot_id="s"))
    assert state_of(fold) == before
    assert fold.standing("disk-00000001") == NEW


def test_an_illegal_record_of_a_ledger_is_named_by_its_number() -> None:
    record = decode(encode({"seq": 7, "synced": 0, **moved("accepted", 1)}))
    assert record is not None
    with pytest.raises(IllegalMove, match=r"^record 7: row disk-00000001: "):
        folded().apply(record)


def test_a_record_of_no_row_must_be_of_the_run() -> None:
    fold = folded()
    before = state_of(fold)
    with pytest.raises(IllegalMove, match="must name its row"):
        fold.apply({"event": "intent", "at": AT})
    assert state_of(fold) == before


def test_what_a_later_version_tells_of_the_run_is_ignored() -> None:
    fold = folded(moved("intent", 1), {"event": "finished", "at": AT, "exit": 0})
    before = state_of(fold)
    fold.apply({"event": "claimed", "pair": ["", "cbs"], "settings": {"rate_per_s": 1}})
    assert state_of(fold) == before
    assert fold.finished is not None
    with pytest.raises(IllegalMove):
        fold.apply(moved("claimed", 1))


def test_rows_at_rest_keep_no_record_and_failed_ones_only_what_is_asked_of_them() -> None:
    fold = folded(
        moved("intent", 1, snapshot_name="a", baseline=["snap-0"]),
        moved("rejected", 1, code="c", message="m", request_id="q", sent_at=AT, latency_ms=1.5),
        moved("intent", 2, snapshot_name="b"),
        moved("accepted", 2, snapshot_id="snap-2"),
    )
    assert set(fold.latest) == set(fold.intents) == {"disk-00000001"}
    latest, intent = fold.latest["disk-00000001"], fold.intents["disk-00000001"]
    assert (latest["code"], latest["message"], "request_id" in latest) == ("c", "m", False)
    assert (intent["snapshot_name"], intent["baseline"]) == ("a", ["snap-0"])
    assert (intent["attempt"], intent["disk_id"]) == (1, "disk-00000001")
    fold.apply(moved("intent", 3) | {"disk_backup_id": "dbp-1"})
    assert fold.backup_disks == {"disk-00000003"}


def test_a_row_in_doubt_takes_little_memory() -> None:
    """A night without replies leaves very many: intent and latest record, as they were read."""
    rows, fold = 2000, folded()

    def read(record: Record) -> None:
        written = decode(encode({"seq": 1, "synced": 0, **record}))
        assert written is not None
        fold.apply(written)

    tracemalloc.start()
    try:
        for number in range(rows):
            name = f"batchsnap-disk-{number:08x}-0badcafe"
            sent = {"sent_at": "2026-11-24T08:16:13.042Z", "latency_ms": 30001.5}
            why = {"code": "fault.timeout", "message": "no reply within 30 s"}
            read(moved("intent", number, snapshot_name=name))
            read(moved("in_doubt", number, verdict="IN_DOUBT", **why, **sent))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / rows < 800
    assert fold.counts[State.IN_DOUBT] == rows
    assert fold.intents["disk-00000007"]["snapshot_name"] == "batchsnap-disk-00000007-0badcafe"
    assert fold.latest["disk-00000007"]["event"] == "in_doubt"


def test_a_row_that_is_owed_a_question_keeps_its_intent_until_it_is_asked() -> None:
    fold = folded(
        moved("intent"),
        moved("in_doubt"),
        moved("settled", found=False),
        moved("intent", snapshot_name="again"),
        moved("accepted", snapshot_id="s"),
    )
    assert fold.owed == 1
    assert fold.intents["disk-00000001"]["snapshot_name"] == "again"
    fold.apply(moved("settled", found=True, final=True))
    assert fold.owed == 0
    assert not fold.intents
    assert fold.counts[State.ACCEPTED] == 1


def test_what_the_run_is_comes_from_its_newest_records() -> None:
    fold = folded(moved("intent"))
    fold.apply({"event": "finished", "at": AT, "exit": 1})
    assert fold.finished is not None
    resumed: Record = {
        "event": "resumed",
        "at": AT,
        "settings": {"canary": 3},
        "manifest": {"rows": 9, "gone": ["disk-00000001"]},
        "recovered": {"cut_bytes": 7},
    }
    fold.apply(resumed)
    assert fold.finished is None
    assert fold.settings == {"canary": 3}
    assert (fold.manifest["rows"], fold.gone) == (9, {"disk-00000001"})
    assert fold.recovered
    fold.apply({"event": "resumed", "at": AT})
    assert fold.manifest["rows"] == 9
    assert fold.recovered


def test_rows_of_which_an_attempt_may_yet_turn_up_are_counted() -> None:
    fold = folded(birth(), moved("intent"))
    steps: list[tuple[Record, int]] = [
        (moved("in_doubt"), 1),
        (moved("settled", found=False), 1),
        (moved("intent"), 1),
        (moved("accepted", snapshot_id="s"), 1),  # it owes its last question
        (moved("settled", found=True, final=True), 0),
    ]
    assert fold.unsettled == 1
    for record, left in steps:
        fold.apply(record)
        assert fold.unsettled == left, record
    fold.apply(moved("intent", 2))
    fold.apply(moved("deferred", 2))
    assert fold.unsettled == 0  # surely not executed
