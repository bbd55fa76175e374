"""Owns the proof of manifest.rows, columns and cells: every cell rule, and all problems at once."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.manifest.columns import KNOWN, meant, recognise
from batchsnap.manifest.rows import Header, deadline_problem
from batchsnap.model import DiskRow, Problem

REGION = "ap-guangzhou"
DISK_FIELDS = re.findall(
    r"\w+",
    """
    AttachMode Attached AutoRenewFlagError AutoSnapshotPolicyIds BackupDisk BurstPerformance
    CreateTime DeadlineError DeadlineTime DeleteSnapshot DeleteWithInstance DifferDaysOfDeadline
    DiskBackupCount DiskBackupQuota DiskChargeType DiskName DiskSize DiskState DiskType Encrypt
    EncryptType ErrorPrompt InstanceId InstanceIdList InstanceType IsReturnable KmsKeyId
    LastAttachInsId MigratePercent Migrating Placement Portable RenewFlag ReturnFailCode
    RollbackPercent Rollbacking Shareable SnapshotAbility SnapshotCount SnapshotSize
    ThroughputPerformance
    """,
)
EVERYDAY = re.findall(
    r"\w+",
    """
    Reason Done Note Owner Name State Line Key Code Message SnapshotId Env Host
    """,
)


def header(*names: str, region: str = "") -> Header:
    return Header(names, source="f.csv", region=region)


def judged(**cells: str) -> DiskRow | list[Problem]:
    """A row with these cells (`_` for the colon and dot of a name is not needed)."""
    full = {"DiskId": "disk-a1b2c3d4", "Region": REGION, **cells}
    made = header(*full)
    assert made.problems == []
    return made.row(list(full.values()), 7)


def row(**cells: str) -> DiskRow:
    found = judged(**cells)
    assert isinstance(found, DiskRow), found
    return found


def flaws(**cells: str) -> list[tuple[int, str, str]]:
    found = judged(**cells)
    assert isinstance(found, list), found
    return [(problem.line, problem.column, problem.what) for problem in found]


@pytest.mark.parametrize("column", KNOWN)
def test_known_columns_are_taken_in_any_case_snake_case_and_full_width(column: str) -> None:
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in column).strip("_")
    wide = "".join(chr(ord(c) + 0xFEE0) for c in column)
    for spelling in (column, column.upper(), column.lower(), snake, snake.upper(), f" {wide}\t"):
        assert recognise(spelling) == column


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("Disk ID", "DiskId"),
        ("disk-id", "DiskId"),
        ("Disk_Id", "DiskId"),
        ("\u200bDiskId\ufeff", "DiskId"),
        ("DiskBackup-Id", "DiskBackupId"),
        ("Snapshot Name", "SnapshotName"),
        ("磁盘ID", "DiskId"),
        ("云硬盘 ID", "DiskId"),
        ("地域", "Region"),
        ("可用区", "Zone"),
    ],
)
def test_columns_as_people_and_consoles_write_them(name: str, column: str) -> None:
    assert recognise(name) == column


def test_zone_by_its_nested_name_and_tags_by_prefix() -> None:
    assert recognise("Placement.Zone") == recognise("placement_zone") == "Zone"
    assert recognise(" TAG: Env ") == "tag:Env"
    assert recognise("ｔａｇ：部门Ａ") == "tag:部门Ａ"  # the key stays as it is


@pytest.mark.parametrize(
    ("slip", "column"),
    [
        ("DiskID_", "DiskId"),
        ("DiskIds", "DiskId"),
        ("DiksId", "DiskId"),
        ("SnapshotNme", "SnapshotName"),
        ("SnapsohtNames", "SnapshotName"),
        ("Regoin", "Region"),
        ("Regions", "Region"),
        ("Tag", "Tags"),
        ("Zones", "Zone"),
        ("Dedline", "Deadline"),
        ("DiskUsages", "DiskUsage"),
        ("Profil", "Profile"),
        ("tags:env", "tag:env"),
        ("Tag.env", "tag:env"),
    ],
)
def test_a_misspelt_column_is_a_problem_with_the_suggestion(slip: str, column: str) -> None:
    assert recognise(slip) == ""
    made = header("DiskId" if column != "DiskId" else "DiskBackupId", slip, region=REGION)
    (problem,) = made.problems
    assert (problem.line, problem.column) == (1, slip)
    assert f"if {column} is meant" in problem.what
    assert made.ignored == []


@pytest.mark.parametrize("name", DISK_FIELDS + EVERYDAY)
def test_columns_of_other_tools_are_ignored_and_named(name: str) -> None:
    assert meant(name) == ""
    made = header("DiskId", name, region=REGION)
    assert (made.problems, made.ignored) == ([], [name])


def test_header_faults_are_all_told_at_once() -> None:
    made = header("DiskId", "disk_id", "Regoin", "tag:a", "TAG:a", "tag:", "DiskName")
    assert [p.column for p in made.problems] == ["DiskId", "Regoin", "tag:a", "tag:"]
    assert "twice (cells 1 and 2)" in made.problems[0].what
    assert made.ignored == ["DiskName"]


def test_no_id_column() -> None:
    (problem,) = header("Region", "Size").problems
    assert problem.what.startswith("no DiskId or DiskBackupId column")
    (problem,) = header("disk-a1b2c3d4", REGION).problems
    assert "holds a disk id; put a line with column names above" in problem.what


def test_a_missing_region_column_is_said_once_and_not_for_each_row() -> None:
    made = header("DiskId")
    (problem,) = made.problems
    assert problem.column == "Region"
    assert "--region" in problem.what
    assert isinstance(made.row(["disk-a"], 2), DiskRow)
    assert header("DiskId", region=REGION).problems == []


def test_region_from_cell_zone_or_default() -> None:
    made = header("DiskId", "Region", "Zone", region="eu-frankfurt")
    regions = [
        made.row(["disk-a", region, zone], 2)[3]
        for region, zone in [
            ("ap-seoul", ""),
            ("", "ap-shenzhen-fsi-12"),
            ("", ""),
            ("ap-seoul", "ap-seoul-1"),
        ]
    ]
    assert regions == ["ap-seoul", "ap-shenzhen-fsi", "eu-frankfurt", "ap-seoul"]


def test_the_whole_row() -> None:
    found = row(
        DiskBackupId=" dbp-x1 ",
        SnapshotName="  夜间 backup ",
        Deadline="2027-01-08T09:47:55Z",
        DiskUsage="system_disk",
        Tags=" env = prod ; team=a=b;",
        **{"tag:由": "x;y"},
        Profile="ops",
    )
    assert found == DiskRow(
        7,
        "disk-a1b2c3d4",
        "dbp-x1",
        REGION,
        "ops",
        "夜间 backup",
        "2027-01-08T09:47:55+00:00",
        "SYSTEM_DISK",
        (("env", "prod"), ("team", "a=b"), ("由", "x;y")),
    )


@pytest.mark.parametrize(
    "text",
    [
        "2027-01-08T09:47:55Z",
        "2027-01-08T09:47:55+00:00",
        "2027-01-08 09:47:55z",
        "2027-01-08T09:47:55.999Z",
        "2027-01-08T09:47:55-0000",
    ],
)
def test_deadlines_of_one_moment(text: str) -> None:
    assert row(Deadline=text).deadline == "2027-01-08T09:47:55+00:00"


@pytest.mark.parametrize(
    ("cells", "column", "what"),
    [
        ({"DiskId": ""}, "DiskId", "empty; a row needs the id"),
        ({"DiskId": "vol-123"}, "DiskId", "'vol-123' is not the id of a disk"),
        ({"DiskId": "disk-"}, "DiskId", "not the id of a disk"),
        ({"DiskId": "disk-a\0"}, "DiskId", r"'disk-a\x00' is not the id"),
        ({"DiskId": "DISK-A1"}, "DiskId", "would be right as 'disk-a1'"),
        ({"DiskId": "ｄｉｓｋ-a1"}, "DiskId", "would be right as 'disk-a1'"),
        ({"DiskBackupId": "disk-a"}, "DiskBackupId", "not the id of a backup point"),
        ({"Region": "Guangzhou"}, "Region", "'Guangzhou' is not a region id"),
        ({"Region": "AP-Seoul"}, "Region", "would be right as 'ap-seoul'"),
        ({"Region": "ap-seoul-1"}, "Region", "is a zone; its region is 'ap-seoul'"),
        ({"Region": ""}, "Region", "empty; give the disk's region, or --region"),
        ({"Zone": "ap-seoul"}, "Zone", "'ap-seoul' is not a zone id"),
        ({"Zone": "ap-seoul-1"}, "Region", "and Zone 'ap-seoul-1' differ"),
        ({"SnapshotName": "a" * 61}, "SnapshotName", "is 61 bytes of UTF-8; at most 60"),
        ({"SnapshotName": "夜" * 21}, "SnapshotName", "is 63 bytes of UTF-8"),
        ({"SnapshotName": "a\nb"}, "SnapshotName", "holds a control character"),
        ({"SnapshotName": "a\u2028b"}, "SnapshotName", "holds a control character"),
        ({"Profile": "a\tb"}, "Profile", "is not a profile name"),
        ({"DiskUsage": "root"}, "DiskUsage", "neither SYSTEM_DISK nor DATA_DISK"),
        ({"Deadline": "tomorrow"}, "Deadline", "is not a moment"),
        ({"Deadline": "2027-02-30T00:00:00Z"}, "Deadline", "no moment of the calendar"),
        ({"Deadline": "0001-01-01T00:00:00+08:00"}, "Deadline", "no moment of the calendar"),
        (
            {"Deadline": "2027-01-08 09:47:55"},
            "Deadline",
            "has no time zone; if it is UTC, write 2027-01-08T09:47:55+00:00",
        ),
        (
            {"Deadline": "2027-01-08T09:47:55+08:00"},
            "Deadline",
            "is not UTC; the same moment in UTC is 2027-01-08T01:47:55+00:00",
        ),
        ({"Tags": "env"}, "Tags", "'env' is not KEY=VALUE"),
        ({"Tags": "=v"}, "Tags", "a tag has no key"),
        ({"Tags": "k="}, "Tags", "tag 'k' has no value"),
        ({"Tags": "k=a;k=b"}, "Tags", "tag 'k' is given twice"),
        ({"Tags": "qcs:k=a"}, "Tags", "is reserved"),
        ({"Tags": "k=a*b"}, "Tags", "holds '*'"),
        ({"Tags": f"{'k' * 128}=a"}, "Tags", "has 128 characters; at most 127"),
        ({"tag:env": "v" * 256}, "tag:env", "has 256 characters; at most 255"),
        ({"tag:projectx": "v"}, "tag:projectx", "is reserved"),
        ({"tag:项目": "v"}, "tag:项目", "is reserved"),
        ({"Tags": ";".join(f"k{i}=v" for i in range(51))}, "Tags", "51 tags"),
        ({"Tags": "env=a", "tag:env": "b"}, "tag:env", "given twice"),
    ],
)
def test_a_bad_cell_is_told_with_its_value(cells: dict[str, str], column: str, what: str) -> None:
    ((line, told, text),) = flaws(**cells)
    assert (line, told) == (7, column)
    assert what in text


def test_all_problems_of_a_row_in_one_pass() -> None:
    found = flaws(
        DiskId="x", Region="y", SnapshotName="n" * 99, Deadline="z", DiskUsage="u", Tags="t;qcs:a=b"
    )
    assert [column for _line, column, _what in found] == [
        "DiskId",
        "Region",
        "Deadline",
        "DiskUsage",
        "Tags",
        "Tags",
        "SnapshotName",
    ]
    assert max(len(what) for _line, _column, what in found) < 200


def test_a_good_row_before_does_not_hide_a_bad_one_after() -> None:
    made = header("DiskId", "Region", "SnapshotName", "Tags")
    good = ["disk-a", REGION, "n", "k=v"]
    for at, bad in [(0, "disk_a"), (1, "?"), (2, "\x07"), (2, "é" * 31), (2, "n" * 61), (3, "k")]:
        assert isinstance(made.row(good, 1), DiskRow)
        cells = [*good]
        cells[at] = bad
        (problem,) = made.row(cells, 2)
        assert isinstance(problem, Problem)


def test_ragged_rows() -> None:
    made = header("DiskId", "Region", "", "")
    assert isinstance(made.row(["disk-a", REGION], 2), DiskRow)
    assert isinstance(made.row(["disk-a", REGION, "", " ", ""], 2), DiskRow)
    (few,) = made.row(["disk-a"], 3)
    assert isinstance(few, Problem)
    assert few.what.startswith("1 cell where the header has 2")
    (many,) = made.row(["disk-a", REGION, "", "x"], 4)
    assert isinstance(many, Problem)
    assert many.what.startswith("4 cells where the header has 2")
    assert made.row(["", "  "], 5) == []
    assert made.row([], 6) == []


CELLS = st.text(max_size=30) | st.sampled_from(
    [
        "disk-a1",
        " disk-a1",
        "ap-seoul",
        "ap-seoul-1",
        "n" * 60,
        "é" * 30,
        "a\x85",
        "k=v",
        "DATA_DISK",
    ]
)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=8))
def test_the_short_way_says_what_the_long_way_says(lines: list[tuple[str, ...]]) -> None:
    made = header("DiskId", "DiskBackupId", "Region", "SnapshotName", "Tags")
    for line, cells in enumerate([*lines, *lines]):
        assert made.row(cells, line) == made._judge(cells, line)[0]


def test_deadline_too_soon() -> None:
    late = row(Deadline="2027-01-08T09:47:55Z")
    fits = datetime(2027, 1, 8, 9, 47, 55, tzinfo=UTC)
    assert deadline_problem(late, fits) is None
    assert deadline_problem(late, "2027-01-08T09:47:55+00:00") is None
    assert deadline_problem(row(), fits) is None
    soon = deadline_problem(late, "2027-01-08T09:47:56+00:00", source="f.csv")
    assert soon is not None
    assert str(soon).startswith("f.csv:7: Deadline: 2027-01-08T09:47:55+00:00 is less than a day")
    past = deadline_problem(late, "2027-01-09T09:47:56+00:00")
    assert past is not None
    assert "is past when this row is sent (forecast 2027-01-08T09:47:56+00:00)" in past.what


@pytest.mark.parametrize(
    ("column", "text", "right"),
    [
        ("DiskId", "\u200bdisk-a1b2c3d4", "disk-a1b2c3d4"),
        ("DiskId", "disk-a1b2\u2060c3d4\ufeff", "disk-a1b2c3d4"),
        ("DiskId", "\u201cdisk-a1b2c3d4\u201d", "disk-a1b2c3d4"),
        ("DiskId", "'disk-a1b2c3d4", "disk-a1b2c3d4"),
        ("DiskId", '="disk-a1b2c3d4"', "disk-a1b2c3d4"),
        ("DiskId", "Disk-A1B2C3D4", "disk-a1b2c3d4"),
        ("Region", "\u2018ap-seoul\u2019", "ap-seoul"),
        ("Region", "ap-\u200bseoul", "ap-seoul"),
        ("Zone", '="ap-seoul-1"', "ap-seoul-1"),
        ("DiskUsage", '="DATA_DISK"', "DATA_DISK"),
    ],
)
def test_what_spreadsheets_wrap_around_a_value_is_shown_without_it(
    column: str, text: str, right: str
) -> None:
    told = [what for _line, named, what in flaws(**{column: text}) if named == column]
    assert told[0].endswith(f"would be right as {right!r}")


def test_a_missing_column_names_those_that_are_there() -> None:
    (problem,) = header("Name", "Size (GB)", region=REGION).problems
    assert "among 'Name', 'Size (GB)'" in problem.what
    (problem,) = header("DiskId", "Where").problems
    assert "no Region or Zone column among 'DiskId', 'Where'" in problem.what
    (problem,) = header(*(f"c{n}" for n in range(12)), region=REGION).problems
    assert "'c7' and 4 more;" in problem.what
