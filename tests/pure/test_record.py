"""The codec: what is written is read, and nothing else is; with the makers of small ledgers."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.ledger.record import Record, decode, decoded, encode, row_record, stamp, unstamp
from tests.records import AT, birth, row

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.just(',"crc":1}\n'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("crc"), inner),
    max_leaves=6,
)
_RECORDS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: name != "crc"),
    _VALUES,
    min_size=1,
    max_size=6,
)


@given(_RECORDS)
def test_what_is_written_is_read(record: Record) -> None:
    line = encode(record)
    read: Any = decode(line)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert list(read)[-1] == "crc"
    assert {name: value for name, value in read.items() if name != "crc"} == record


@given(_RECORDS)
def test_any_json_reader_can_check_the_crc(record: Record) -> None:
    line = encode(record)
    crc = json.loads(line)["crc"]
    without = line.rstrip(b"\n").removesuffix(b',"crc":%d}' % crc) + b"}"
    assert crc32(without) == crc


@given(st.lists(_RECORDS, min_size=1, max_size=5), st.integers(1, 40), st.data())
def test_many_lines_are_read_as_each_alone(
    records: list[Record], times: int, data: st.DataObject
) -> None:
    """Whichever of them are damaged: one byte of all is another, or a piece is gone."""
    whole = b"".join(encode(record) for record in records) * times
    first = data.draw(st.integers(0, len(whole)))
    piece = data.draw(st.sampled_from([b"", b"\n", b"}", b",", b"{}\n", b"1"]))
    broken = whole[:first] + piece + whole[first + data.draw(st.integers(0, 300)) :]
    for ledger in (whole, broken):
        lines = ledger.splitlines(keepends=True)
        assert list(decoded(lines)) == [(line, decode(line)) for line in lines]
    assert None not in [record for _, record in decoded(whole.splitlines(keepends=True))]


@given(_RECORDS, st.data())
def test_a_line_with_one_bit_flipped_is_no_record(record: Record, data: st.DataObject) -> None:
    line = bytearray(encode(record))
    bit = data.draw(st.integers(0, len(line) * 8 - 1))
    line[bit // 8] ^= 1 << bit % 8
    assert decode(bytes(line)) is None


@given(_RECORDS, st.data())
def test_a_part_of_a_line_is_no_record(record: Record, data: st.DataObject) -> None:
    line = encode(record)
    assert decode(line[: data.draw(st.integers(0, len(line) - 1))]) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"\0" * 512,
        b"{}\n",
        b"[1]\n",
        b'{"a":1}\n',
        b'{"a":1,"crc":null}\n',
        b'{"crc":1}\n',
        encode(birth())[:-1],  # no newline: its end may be missing
        encode(birth())[:-2] + b" }\n",
        encode(birth())[:-2] + b',"seq":7}\n',  # something after the crc
        encode(birth())[:-2] + b".0}\n",
        b" " + encode(birth()),
    ],
)
def test_what_encode_did_not_write_is_no_record(line: bytes) -> None:
    assert decode(line) is None


def test_a_good_crc_over_no_json_is_no_record() -> None:
    body = b'{"a":'
    assert decode(b'%b,"crc":%d}\n' % (body, crc32(body + b"}"))) is None


def test_a_row_record_says_who_the_row_is_and_leaves_out_what_is_empty() -> None:
    record = row_record("intent", row(1), 2, AT, snapshot_name="n", code="", baseline=None, a=0)
    assert record == {
        "event": "intent",
        "key": "disk-00000001",
        "disk_id": "disk-00000001",
        "disk_backup_id": None,
        "region": "r",
        "profile": None,
        "attempt": 2,
        "at": AT,
        "snapshot_name": "n",
        "a": 0,
    }
    assert row_record("intent", row(1), 1, AT, baseline=[])["baseline"] == []


@given(st.integers(0, 4_000_000_000_000))
def test_a_stamp_keeps_the_milliseconds(moment_ms: int) -> None:
    text = stamp((moment_ms + 0.5) / 1000)
    assert len(text) == 24
    assert round(unstamp(text) * 1000) == moment_ms
