"""Owns the proof of manifest.reader: every format and encoding round, every fault with its line."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchsnap.errors import UsageError
from batchsnap.manifest import documents
from batchsnap.manifest.reader import Manifest
from batchsnap.model import DiskRow, Problem
from batchsnap.plan import survey

REGION = "ap-guangzhou"
COLUMNS = ("DiskId", "DiskBackupId", "Region", "Profile", "SnapshotName", "Deadline", "DiskUsage")


def write(folder: Path, data: bytes | str, name: str = "fleet.csv") -> str:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def read(path: str, region: str = REGION, encoding: str | None = None) -> list[DiskRow | Problem]:
    with Manifest.open(path, encoding=encoding) as manifest:
        return list(manifest.rows(region=region))


def told(found: list[DiskRow | Problem]) -> list[tuple[int, str]]:
    """(line, what) of the problems, what there is to read of them."""
    return [(each.line, each.what) for each in found if isinstance(each, Problem)]


def ids(found: list[DiskRow | Problem]) -> list[tuple[int, str]]:
    return [(each.line, each.disk_id) for each in found if isinstance(each, DiskRow)]


# Round trips

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(' ,;|"{[='),
    max_size=14,
).map(str.strip)
TAG_TEXT = st.text("abz09+-=._:/@()[],><夜", min_size=1, max_size=9)
ROWS = st.lists(
    st.builds(
        DiskRow,
        line=st.just(0),
        disk_id=st.from_regex(r"disk-[a-z0-9]{8}", fullmatch=True),
        disk_backup_id=st.just("") | st.from_regex(r"dbp-[a-z0-9]{8}", fullmatch=True),
        region=st.sampled_from(["ap-guangzhou", "ap-shanghai-fsi", "eu-frankfurt"]),
        profile=st.sampled_from(["", "ops", "运维"]),
        snapshot_name=NAMES,
        deadline=st.sampled_from(["", "2027-01-08T09:47:55+00:00"]),
        disk_usage=st.sampled_from(["", "SYSTEM_DISK", "DATA_DISK"]),
        tags=st.dictionaries(TAG_TEXT.filter(lambda key: "=" not in key), TAG_TEXT, max_size=3).map(
            lambda tags: tuple(tags.items())
        ),
        source_id=st.just(""),
    ),
    min_size=1,
    max_size=6,
)


def values(row: DiskRow) -> list[str]:
    own = row._asdict()
    return [own[name] for name in DiskRow._fields if name not in {"line", "tags", "source_id"}]


def as_table(rows: list[DiskRow], delimiter: str, end: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow([*COLUMNS, "Tags"])
    for row in rows:
        writer.writerow([*values(row), ";".join(f"{k}={v}" for k, v in row.tags)])
    return out.getvalue()


def as_objects(rows: list[DiskRow], tags: str) -> list[dict[str, Any]]:
    shapes: dict[str, Any] = {
        "text": lambda row: ";".join(f"{k}={v}" for k, v in row.tags),
        "object": lambda row: dict(row.tags),
        "api": lambda row: [{"Key": k, "Value": v} for k, v in row.tags],
        "snake": lambda row: [{"key": k, "value": v} for k, v in row.tags] or None,
    }
    return [
        {**dict(zip(COLUMNS, values(row), strict=True)), "Tags": shapes[tags](row)} for row in rows
    ]


ENCODINGS = [
    (b"", "utf-8"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"", "utf-16-le"),
    (b"", "utf-16-be"),
]


def same(data: bytes, rows: list[DiskRow]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), data)
        with Manifest.open(path) as manifest:
            found = list(manifest.rows())
            assert found == list(manifest.rows())
            assert manifest.digest() == hashlib.sha256(data).hexdigest()
            assert manifest.warnings == []
    assert [each._replace(line=0) for each in found] == rows
    lines = [each.line for each in found]
    assert lines == sorted(lines)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.sampled_from(ENCODINGS))
def test_tables_come_back(
    rows: list[DiskRow], delimiter: str, end: str, encoding: tuple[bytes, str]
) -> None:
    mark, codec = encoding
    same(mark + as_table(rows, delimiter, end).encode(codec), rows)


@settings(max_examples=150, deadline=None)
@given(
    ROWS,
    st.sampled_from(["lines", "array", "pretty"]),
    st.sampled_from(["text", "object", "api", "snake"]),
    st.sampled_from(ENCODINGS),
)
def test_json_comes_back(
    rows: list[DiskRow], form: str, tags: str, encoding: tuple[bytes, str]
) -> None:
    mark, codec = encoding
    objects = as_objects(rows, tags)
    if form == "lines":
        text = "\n".join(orjson.dumps(each).decode() for each in objects)
    elif form == "array" and len(rows) == 1:
        text = orjson.dumps(objects).decode()
    else:
        text = orjson.dumps(objects, option=orjson.OPT_INDENT_2).decode()
    same(mark + text.encode(codec), rows)


def test_gb18030_is_read_with_a_warning(tmp_path: Path) -> None:
    # The first character beyond ASCII comes late, as it does in lists of ids.
    lines = [f"disk-{number:06d},{REGION},n{number}" for number in range(30_000)]
    text = "\n".join(["DiskId,Region,SnapshotName", *lines, f"disk-zz,{REGION},夜间快照"])
    path = write(tmp_path, text.encode("gb18030"))
    with Manifest.open(path) as manifest:
        found = list(manifest.rows())
        (warning,) = manifest.warnings
    assert found[-1][5] == "夜间快照"
    assert "not UTF-8 (line 30002), so read as GB18030" in warning
    assert "--encoding" in warning
    with Manifest.open(path, encoding="gbk") as manifest:
        assert list(manifest.rows()) == found
        assert manifest.warnings == []


def test_an_explicit_encoding_wins_and_a_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    text = f"DiskId,Region,SnapshotName\ndisk-a,{REGION},café\n"
    latin = write(tmp_path, text.encode("latin-1"))
    (row,) = read(latin, encoding="latin-1")
    assert row[5] == "café"
    bare = write(tmp_path, text.encode("utf-16-be"), "bare")
    assert read(bare, encoding="utf-16")[0][5] == "café"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"):
        data = text.encode(encoding) if encoding != "utf-16-le" else text.encode("utf-16")
        data = codecs.BOM_UTF8 + data if encoding == "utf-8" else data
        (row,) = read(write(tmp_path, data), encoding=encoding)
        assert row[5] == "café"


# Tables

H = "DiskId,Region,SnapshotName,Size\n"
GOOD = f"disk-a,{REGION},n,1\n"


def test_lines_are_right_through_blanks_quotes_and_crlf(tmp_path: Path) -> None:
    text = (
        "\r\n  \r\n"  # 1, 2
        "DiskId ;Region;Note\r\n"  # 3
        "disk-a;ap-seoul;\r\n"  # 4
        "\r\n"  # 5
        ';;""\r\n'  # 6
        'disk-b;ap-seoul;"two\r\nlines; ""quoted"""\r\n'  # 7, 8
        "disk-c; ap-seoul ; plain\r\n"  # 9
        'disk-d; "ap-seoul"; "x"'  # 10, without an end
    )
    path = write(tmp_path, text)
    with Manifest.open(path) as manifest:
        found = list(manifest.rows())
        assert manifest.ignored == ["Note"]
    assert ids(found) == [(4, "disk-a"), (7, "disk-b"), (9, "disk-c"), (10, "disk-d")]
    assert told(found) == []


def test_old_line_ends(tmp_path: Path) -> None:
    found = read(write(tmp_path, "DiskId\rdisk-a\r\rdisk-b\r"))
    assert ids(found) == [(2, "disk-a"), (4, "disk-b")]


def test_the_format_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    assert (
        ids(read(write(tmp_path, "DiskId\tRegion\tA,B\ndisk-a\tap-seoul\t1,2\n", "a.json"))) != []
    )
    assert ids(read(write(tmp_path, '\n {"DiskId": "disk-a"}\n', "a.csv"))) == [(2, "disk-a")]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [(0, "empty; a manifest")]),
        (" \n\t\n", [(0, "empty; a manifest")]),
        (codecs.BOM_UTF8, [(0, "empty; a manifest")]),
        (H, [(0, "no rows below the header")]),
        (H + "\n,,,\n", [(0, "no rows below the header")]),
        ("Region\n" + REGION, [(1, "no DiskId or DiskBackupId column")]),
        (f"disk-a,{REGION}\ndisk-b,{REGION}\n", [(1, "the first line holds a disk id")]),
        ("DiskID_,Region\ndisk-a,x\n", [(1, "if DiskId is meant, write it so")]),
        (
            "\nDiskId,Regoin,disk_id\ndisk-a,x,\nbad,x,\n",
            [(2, "if Region is meant"), (2, "column DiskId is there twice"), (4, "'bad' is not")],
        ),
        (H + GOOD + "disk-b\n" + GOOD, [(3, "1 cell where the header has 4")]),
        (H + GOOD + "disk-b,x,y,z,w\n" + GOOD, [(3, "5 cells where the header has 4")]),
        (
            H + '"disk-a\nb",x,"n\nn",\n' + "disk-b,x,,\n",
            [(2, "is not the id"), (2, "'x' is not a region"), (2, "control"), (5, "'x' is not")],
        ),
        (H + GOOD + 'disk-b,ap-seoul,"a"b,\nbad,ap-seoul,,\n',
         [(3, "text follows the closing quote"), (4, "'bad' is not the id")]),
        (H + GOOD + 'disk-b,ap-seoul,"a\n' + GOOD * 3, [(3, "a cell is never closed")]),
        (H + GOOD + 'disk-b,ap-seoul,"a\n' + GOOD * 9999, [(3, "a cell is never closed")]),
        ('"DiskId,Region\ndisk-a,x\n', [(1, "a cell is never closed")]),
        (H + GOOD + "disk-b,ap-seoul,a\0b,\n", [(3, "a NUL character")]),
        ((H + GOOD).encode() + b"disk-b,ap-seoul,\xff,\n", [(3, "byte 0xff is not utf-8")]),
        (codecs.BOM_UTF8 + (H + GOOD).encode() + b"\xb0\xa1", [(3, "byte 0xb0 is not utf-8-sig")]),
        (codecs.BOM_UTF16_LE + H.encode("utf-16-le") + b"\0", [(2, "byte 0x00 is not utf-16-le")]),
        (codecs.BOM_UTF16_BE + H.encode("utf-16-be") + b"\xdc\0", [(2, "byte 0xdc is not utf-1")]),
    ],
)  # fmt: skip
def test_bad_tables(tmp_path: Path, text: bytes | str, problems: list[tuple[int, str]]) -> None:
    check(read(write(tmp_path, text), region=""), problems)


def check(found: list[DiskRow | Problem], problems: list[tuple[int, str]]) -> None:
    seen = told(found)
    assert [line for line, _what in seen] == [line for line, _what in problems], seen
    for (_line, what), (_same, part) in zip(seen, problems, strict=True):
        assert part in what


# JSON

DISK = {
    "DiskId": "disk-a",
    "DiskName": "数据盘",
    "DiskUsage": "DATA_DISK",
    "DiskState": "ATTACHED",
    "SnapshotAbility": True,
    "DiskSize": 50,
    "DeadlineTime": None,
    "Placement": {"Zone": "ap-guangzhou-3", "ProjectId": 0, "CageId": None},
    "Tags": [{"Key": "bill", "Value": "7"}],
    "InstanceIdList": ["ins-x"],
}


def disks(*names: str) -> list[dict[str, Any]]:
    return [{**DISK, "DiskId": name} for name in names]


def printed(value: Any) -> str:
    """As tccli prints: four spaces, real UTF-8."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return "\n".join(" " * (len(line) - len(line.lstrip())) + line for line in text.split("\n"))


def page(total: int, *names: str) -> dict[str, Any]:
    return {"TotalCount": total, "DiskSet": disks(*names), "RequestId": "e1"}


@pytest.mark.parametrize("envelope", [False, True])
@pytest.mark.parametrize("pretty", [False, True])
def test_describe_disks_as_tccli_and_the_raw_api_print_it(
    tmp_path: Path, envelope: bool, pretty: bool
) -> None:
    value: dict[str, Any] = page(2, "disk-a", "disk-b")
    value = {"Response": value} if envelope else value
    text = printed(value) if pretty else orjson.dumps(value).decode()
    path = write(tmp_path, text, "disks.json")
    with Manifest.open(path) as manifest:
        found = list(manifest.rows())
        assert {"DiskName", "DiskUsage", "Tags", "InstanceIdList"} <= set(manifest.ignored)
        assert len(manifest.ignored) == len(set(manifest.ignored))
        own = "the disks' own Tags and DiskUsage were not taken over"
        assert sum(own in warning for warning in manifest.warnings) == 1
        assert any("many rows share a line" in each for each in manifest.warnings) != pretty
    assert [each[1:] for each in found] == [
        (name, "", REGION, "", "", "", "", (), "") for name in ("disk-a", "disk-b")
    ]
    lines = [at for at, line in enumerate(text.split("\n"), 1) if '"DiskId"' in line]
    assert [each.line for each in found] == ([at - 1 for at in lines] if pretty else [1, 2])


def test_pages_appended_to_one_file(tmp_path: Path) -> None:
    one, two = page(3, "disk-a", "disk-b"), page(3, "disk-c")
    pretty = printed(one) + "\n\n" + printed(two) + "\n"
    found = read(write(tmp_path, pretty))
    starts = [at for at, line in enumerate(pretty.split("\n"), 0) if '"DiskId"' in line]
    assert ids(found) == list(zip(starts, ["disk-a", "disk-b", "disk-c"], strict=True))
    assert told(found) == []
    compact = "\n".join(orjson.dumps(each).decode() for each in (one, two))
    assert ids(read(write(tmp_path, compact))) == [(1, "disk-a"), (2, "disk-b"), (3, "disk-c")]


def test_one_disk_a_line_as_jq_writes_it(tmp_path: Path) -> None:
    lines = [orjson.dumps(each).decode() for each in disks("disk-a", "disk-b")]
    found = read(write(tmp_path, "\n".join(lines)), region="")
    assert ids(found) == [(1, "disk-a"), (2, "disk-b")]
    assert {each[8] for each in found} == {()}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (printed(page(250, "disk-a")), [(0, "TotalCount is 250 but 1 disks are here")]),
        (printed(page(0)), [(0, "no rows; name at least one disk")]),
        ("[]", [(0, "no rows")]),
        ('{"Response":{"Error":{"Code":"AuthFailure","Message":"no"},"RequestId":"x"}}',
         [(1, "the cloud's answer is an error, not disks ('AuthFailure: no')")]),
        ('{"TotalCount": 1, "SnapshotSet": [], "RequestId": "x"}', [(1, "without DiskSet")]),
        ('{"DiskId":"disk-a"}\n{"DiskId":"disk-b",}\n\n{"DiskId":"c"}\n5\n["x"]\n',
         [(2, "not JSON"), (4, "'c' is not the id"), (5, "'5' is neither"), (3, "'x' is not an")]),
        ('{"DiskId":"disk-a",}\n{"DiskId":"bad"}\n', [(1, "not JSON"), (2, "'bad' is not the")]),
        ('[\n  {"DiskId": "disk-a"},\n  {"DiskId": disk-b}\n]', [(3, "not JSON")]),
        ('{\n  "DiskId": "disk-a"\n', [(3, "not JSON")]),
        ('[\n  {"DiskId": "disk-a"},\n\n  {"DiskId": ["x"]}\n]', [(4, "['x']\" is not text")]),
        ('{"DiskId":"","SnapshotName":""}', [(1, "empty; a row needs the id")]),
        ("{}", [(1, "no DiskId or DiskBackupId column")]),
        ('{"DiskId":"disk-a","Regoin":"x"}\n{"DiskId":"disk-a","Regoin":"x"}',
         [(1, "if Region is meant"), (2, "if Region is meant")]),
        ('{"DiskId":"disk-a"}\n{"Name":"x"}', [(2, "no DiskId or DiskBackupId column")]),
        ('{"DiskId":"disk-a","Zone":"ap-x-1","Placement":{"Zone":"ap-x-1"}}',
         [(1, "column Zone is there twice")]),
        ('{"DiskId":"disk-a","Tags":{"k":5}}', [(1, "all text")]),
        ('{"DiskId":"disk-a","Tags":["k=v"]}', [(1, "all text")]),
        ('{"DiskId":"disk-a","Tags":[{"Key":"k","Value":""}]}', [(1, "tag 'k' has no value")]),
        ('{"DiskId":"disk-a","Tags":[{"Key":"k","Value":"a"},{"Key":"k","Value":"b"}]}',
         [(1, "column tag:k is there twice")]),
        ('{"DiskId":"disk-a","SnapshotName":"a\\u0000b"}', [(1, "control character")]),
    ],
)  # fmt: skip
def test_bad_json(tmp_path: Path, text: str, problems: list[tuple[int, str]]) -> None:
    check(read(write(tmp_path, text)), problems)


def test_json_without_a_region_is_told_for_each_row(tmp_path: Path) -> None:
    found = read(write(tmp_path, '{"DiskId":"disk-a"}\n{"DiskId":"disk-b"}\n'), region="")
    check(found, [(1, "no Region or Zone"), (2, "no Region or Zone")])
    assert ids(found) == []


def test_a_number_is_a_name(tmp_path: Path) -> None:
    (row,) = read(write(tmp_path, '{"DiskId":"disk-a","SnapshotName":20261124}'))
    assert row[5] == "20261124"


def test_a_document_above_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "DOCUMENT_MAX_CHARS", 200)
    for text in (printed(page(1, "disk-a")), orjson.dumps(page(1, "disk-a")).decode()):
        check(read(write(tmp_path, text)), [(0, "make it JSON Lines")])
    lines = '{"DiskId":"disk-a"}\n' * 100
    assert len(ids(read(write(tmp_path, lines)))) == 100


# The door


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in [
        (str(tmp_path), "Is a directory"),
        (str(tmp_path / "none.csv"), "No such file"),
    ]:
        with pytest.raises(UsageError) as caught:
            Manifest.open(path)
        assert path in str(caught.value)
        assert reason in str(caught.value)
    with pytest.raises(UsageError, match="'hex' is no text encoding"):
        Manifest.open(write(tmp_path, H), encoding="hex")
    with Manifest.open(write(tmp_path, H)) as manifest, pytest.raises(UsageError, match="a zone"):
        manifest.rows(region="ap-seoul-1")


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(tmp_path, H + "bad\n")
    monkeypatch.chdir(tmp_path)
    with Manifest.open("fleet.csv") as manifest:
        assert (manifest.name, manifest.path) == ("fleet.csv", whole)
        (problem,) = manifest.rows()
    assert str(problem).startswith("fleet.csv:2: 1 cell")


def test_standard_input_can_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (H + GOOD + GOOD).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with Manifest.open("-") as manifest:
        assert (manifest.name, manifest.path) == ("-", "-")
        assert (
            ids(list(manifest.rows()))
            == ids(list(manifest.rows()))
            == [
                (2, "disk-a"),
                (3, "disk-a"),
            ]
        )
        assert manifest.digest() == hashlib.sha256(data).hexdigest()
        found = survey(manifest.rows, source=manifest.name)
    (problem,) = found.problems.first
    assert str(problem).startswith("-:3: DiskId: disk-a is already on line 2; ")


def test_a_pipe_is_read_as_a_file_is() -> None:
    out, into = os.pipe()
    try:
        os.write(into, (H + GOOD).encode())
        os.close(into)
        found = read(f"/dev/fd/{out}")
    finally:
        os.close(out)
    assert ids(found) == [(2, "disk-a")]


def test_passes_do_not_meet_and_follow_the_file_that_was_opened(tmp_path: Path) -> None:
    path = write(tmp_path, H + "".join(f"disk-{n},{REGION},,\n" for n in range(50_000)))
    with Manifest.open(path) as manifest:
        os.replace(write(tmp_path, "DiskId\n", "other"), path)
        one, two = manifest.rows(), manifest.rows()
        count = sum(a == b for a, b in zip(one, two, strict=True))
    assert count == 50_000


def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, H + GOOD)
    with Manifest.open(path) as manifest:
        with Path(path).open("a") as file:
            file.write(GOOD)
        assert told(list(manifest.rows()))[-1] == (
            0,
            "changed while it was being read; start again",
        )


# What people and their tools really hand in


def region_page(total: int, zone: str, *names: str) -> dict[str, Any]:
    placed = [{**disk, "Placement": {"Zone": zone}} for disk in disks(*names)]
    return {"TotalCount": total, "DiskSet": placed, "RequestId": "e1"}


def numbered(region: str, count: int) -> list[str]:
    return [f"disk-{region}{n}" for n in range(count)]


CUT = [
    region_page(30, "ap-guangzhou-3", *numbered("g", 20)),
    region_page(12, "ap-seoul-1", *numbered("s", 12)),
    region_page(9, "ap-tokyo-2", *numbered("t", 9)),
]


@pytest.mark.parametrize("form", ["appended", "one a line", "slurped", "slurped and printed"])
def test_one_region_cut_short_is_not_made_up_for_by_the_others(tmp_path: Path, form: str) -> None:
    text = {
        "appended": "\n".join(map(printed, CUT)),
        "one a line": "\n".join(orjson.dumps(each).decode() for each in CUT),
        "slurped": orjson.dumps(CUT).decode(),
        "slurped and printed": printed(CUT),
    }[form]
    check(
        read(write(tmp_path, text), region=""),
        [(0, "TotalCount is 30 but 20 disks are here of ap-guangzhou")],
    )


def test_a_page_twice_is_no_other_page(tmp_path: Path) -> None:
    twice = [region_page(20, "ap-seoul-1", *numbered("s", 10))] * 2
    check(
        read(write(tmp_path, orjson.dumps(twice).decode()), region=""),
        [(0, "TotalCount is 20 but 10 disks are here of ap-seoul")],
    )


def test_a_page_after_the_last_is_no_shortfall_and_one_alone_is(tmp_path: Path) -> None:
    whole = [region_page(2, "ap-seoul-1", "disk-a", "disk-b"), page(2)]
    assert told(read(write(tmp_path, orjson.dumps(whole).decode()))) == []
    more = [whole[0], page(7)]
    check(read(write(tmp_path, orjson.dumps(more).decode())), [(0, "TotalCount is 7 but 0 disks")])


def test_the_pages_that_jq_slurps_keep_their_lines(tmp_path: Path) -> None:
    text = printed(CUT[1:])
    found = read(write(tmp_path, text), region="")
    lines = [at for at, line in enumerate(text.split("\n")) if '"DiskId"' in line]
    assert [each.line for each in found] == lines
    assert told(found) == []


@pytest.mark.parametrize("mark", ["sep=;", '"sep=;"', "\ufeffSEP=;"])
def test_the_first_line_of_a_spreadsheet(tmp_path: Path, mark: str) -> None:
    text = f"{mark}\r\nDisk ID;地域;Name, long\r\ndisk-a;ap-seoul;x\r\n"
    found = read(write(tmp_path, text), region="")
    assert (ids(found), told(found)) == ([(3, "disk-a")], [])


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        ("# fleet of may\nDiskId,Region\n", [(1, "grep -v '^ *#'")]),
        (H + "# out of use\n#disk-b,ap-seoul,,\n" + GOOD, [(2, "grep -v"), (3, "grep -v")]),
        ('{"disks": {"sensitive": false, "type": ["list", "string"], "value": ["disk-a"]}}',
         [(1, "terraform output -json disks | jq -c '.[] | {DiskId: .}'")]),
        (b"PK\x03\x04\x14\0\x06\0", [(1, "soffice --headless --convert-to csv FILE")]),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", [(1, "an old workbook (.xls)")]),
        (b"\x1f\x8b\x08\0", [(1, "gunzip -c FILE > fleet.csv")]),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_named_with_the_line_that_converts_it(
    tmp_path: Path, data: bytes | str, problems: list[tuple[int, str]]
) -> None:
    check(read(write(tmp_path, data)), problems)


def test_a_name_that_hangs_on_a_guess_is_known(tmp_path: Path) -> None:
    for name, text in (("夜间", "夜间"), ("plain", "")):
        line = f"disk-a,{REGION},{name},说明\n"
        path = write(tmp_path, (H + line).encode("gb18030"))
        with Manifest.open(path) as manifest:
            assert len(list(manifest.rows())) == 1
            assert manifest.guessed_text == text
        with Manifest.open(path, encoding="gb18030") as manifest:
            assert len(list(manifest.rows())) == 1
            assert manifest.guessed_text == ""
