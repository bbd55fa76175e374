"""Owns the proof of plan.py: keys, names within 60 bytes, repeats, survey, forecast."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.errors import ManifestError, UsageError
from batchsnap.model import DiskRow, Problem
from batchsnap.plan import ProblemLog, compile_name, forecast, key_of, request_of, row_id, survey
from batchsnap.settings import NAME_DEFAULT, duration_text

BORN = datetime(2026, 11, 24, 8, 16, 13, tzinfo=UTC)
NAMER = compile_name(NAME_DEFAULT).for_run("run-1", BORN)


def disk(line: int, disk_id: str, **more: object) -> DiskRow:
    empty = DiskRow(line, disk_id, "", "ap-seoul", "", "", "", "", ())
    return empty._replace(**more)  # type: ignore[arg-type]


def test_keys() -> None:
    assert key_of("disk-x", "") == "disk-x"
    assert key_of("disk-x", "dbp-y") == "disk-x+dbp-y"
    assert key_of("", "dbp-y") == "+dbp-y"


def test_row_ids_are_of_run_and_row_and_never_change() -> None:
    # Written down: a name made by an earlier version must be found again.
    assert row_id("run-1", "disk-x") == "dbe65c48"
    assert row_id("run-2", "disk-x") != row_id("run-1", "disk-x") != row_id("run-1", "disk-y")
    assert row_id("a", "b\0c") != row_id("a", "b") != row_id("ab", "")


def test_every_placeholder() -> None:
    template = "{date}.{time}.{run}.{region}.{disk_id}.{id}"
    namer = compile_name(template).for_run("r", BORN.astimezone(timezone(timedelta(hours=8))))
    key = row_id("r", "disk-x")
    name = namer.render(disk_id="disk-x", region="ap-seoul", key="disk-x")
    assert name == f"20261124.081613.r.ap-seoul.disk-x.{key}"


def test_the_id_is_appended_where_a_template_lacks_it() -> None:
    namer = compile_name("nightly").for_run("run-1", BORN)
    name = namer.render(disk_id="disk-x", region="ap-seoul", key="disk-x")
    assert name == "nightly-" + row_id("run-1", "disk-x")


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("", "--name is empty"),
        ("  ", "--name is empty"),
        ("a ", "begins or ends with a space"),
        ("a\nb", "control character"),
        ("{disk}", "no placeholder {disk}. There are {disk_id} {region}"),
        ("{}", "no placeholder {}"),
        ("{disk_id.__class__}", "no placeholder {disk_id.__class__}"),
        ("{disk_id", "brace without its other"),
        ("disk_id}", "brace without its other"),
        ("{{id}}", "brace without its other"),
        ("a" * 53 + "{id}", "comes to 61 bytes"),
        ("{id}" + "夜" * 18, "comes to 62 bytes"),
        ("{id}-{run}-{region}-{disk_id}", "comes to 70 bytes"),
    ],
)
def test_a_template_that_cannot_be(template: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_name(template)
    assert what in str(caught.value)


PARTS = st.lists(
    st.sampled_from(["{disk_id}", "{region}", "{date}", "{time}", "{run}", "{id}"])
    | st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="{}"), max_size=30),
    min_size=1,
    max_size=6,
).map("".join)


@given(
    PARTS, st.text("abc-", max_size=40), st.lists(st.integers(0, 10**9), unique=True, max_size=9)
)
def test_names_fit_hold_the_id_and_are_unique(parts: str, run: str, numbers: list[int]) -> None:
    try:
        template = compile_name(parts)
    except UsageError:
        return
    namer = template.for_run(run, BORN)
    keys = [f"disk-{number:030d}" for number in numbers]
    names = [namer.render(disk_id=key, region="na-siliconvalley", key=key) for key in keys]
    for key, name in zip(keys, names, strict=True):
        assert len(name.encode()) <= 60
        assert row_id(run, key) in name
    assert len(set(names)) == len({row_id(run, key) for key in keys})


def test_a_name_is_cut_between_characters_before_its_id() -> None:
    namer = compile_name("夜" * 30).for_run("r", BORN)
    name = namer.render(disk_id="disk-x", region="", key="disk-x")
    assert name == "夜" * 17 + row_id("r", "disk-x")
    assert len(name.encode()) == 59


def test_what_follows_the_id_is_counted_in_bytes() -> None:
    namer = compile_name("{disk_id}-{id}夜夜").for_run("r", BORN)
    name = namer.render(disk_id="d" * 60, region="", key="k")
    assert name == "d" * 46 + row_id("r", "k") + "夜夜"


def test_an_appended_id_keeps_its_dash_where_it_fits() -> None:
    namer = compile_name("a" * 51).for_run("r", BORN)
    assert namer.render(disk_id="", region="", key="k") == "a" * 51 + "-" + row_id("r", "k")


def test_request_of_a_plain_row() -> None:
    request = request_of(
        disk(3, "disk-x"), namer=NAMER, tags=(("a", "1"),), profile="ops", deadline="D"
    )
    assert request.key == "disk-x"
    assert request.name == "batchsnap-disk-x-" + row_id("run-1", "disk-x")
    assert (request.named, request.tags, request.profile, request.deadline) == (
        False,
        (("a", "1"),),
        "ops",
        "D",
    )


def test_what_a_row_says_wins() -> None:
    said = disk(
        3,
        "disk-x",
        snapshot_name="mine",
        profile="own",
        deadline="E",
        tags=(("a", "2"), ("b", "3")),
    )
    request = request_of(
        said, namer=NAMER, tags=(("a", "1"), ("c", "4")), profile="ops", deadline="D"
    )
    assert (request.name, request.named, request.profile) == ("mine", True, "own")
    assert request.deadline == "E"
    assert dict(request.tags) == {"a": "2", "b": "3", "c": "4"}


def test_a_backup_point_alone_is_named_by_its_own_id() -> None:
    request = request_of(disk(3, "", disk_backup_id="dbp-y"), namer=NAMER)
    assert request.key == "+dbp-y"
    assert request.name == "batchsnap-dbp-y-" + row_id("run-1", "+dbp-y")


def test_repeats_name_both_lines_whatever_region_or_profile() -> None:
    rows = [
        disk(3, "disk-x"),
        disk(4, "disk-y"),
        Problem("fleet.csv", 5, "DiskId", "bad"),
        disk(6, "disk-x", disk_backup_id="dbp-y"),
        disk(9, "disk-x", region="ap-tokyo", profile="ops"),
        disk(10, "", disk_backup_id="dbp-z"),
        disk(11, "disk-x"),
        disk(12, "", disk_backup_id="dbp-z"),
    ]
    passes: list[int] = []

    def again() -> Iterable[DiskRow | Problem]:
        passes.append(1)
        return iter(rows)

    found = survey(again, source="fleet.csv")
    assert found.problems.total == 4
    told = [str(problem).partition(";")[0] for problem in found.problems.first]
    assert told == [
        "fleet.csv:5: DiskId: bad",
        "fleet.csv:9: DiskId: disk-x is already on line 3",
        "fleet.csv:11: DiskId: disk-x is already on line 3",
        "fleet.csv:12: DiskBackupId: dbp-z is already on line 10",
    ]
    assert len(passes) == 2


def test_survey_counts_names_and_reads_once_where_nothing_repeats() -> None:
    rows = [
        disk(2, "disk-a"),
        disk(3, "disk-b", region="ap-tokyo", snapshot_name="mine"),
        disk(4, "disk-c", profile="ops"),
        disk(5, "disk-d"),
    ]
    source = iter([rows])
    found = survey(lambda: next(source), source="f", namer=NAMER, profile="day")
    assert found.rows == 4
    assert found.named == 1
    assert found.by_scope == {
        ("day", "ap-seoul"): 2,
        ("day", "ap-tokyo"): 1,
        ("ops", "ap-seoul"): 1,
    }
    assert found.keys == {"disk-a", "disk-b", "disk-c", "disk-d"}
    assert len(found.names) == 3
    assert found.names[1] == "mine"
    assert found.problems.total == 0


def test_survey_shows_each_key_once_and_takes_what_is_said_of_it() -> None:
    rows = [disk(2, "disk-a"), disk(3, "", disk_backup_id="dbp-b"), disk(4, "disk-a")]
    shown: list[tuple[int, str]] = []

    def each(row: DiskRow, key: str) -> Problem | None:
        shown.append((row.line, key))
        return Problem("f", row.line, "Region", "moved") if row.line == 3 else None

    found = survey(lambda: rows, source="f", each=each)
    assert shown == [(2, "disk-a"), (3, "+dbp-b")]
    assert [problem.line for problem in found.problems.first] == [3, 4]


def test_survey_counts_the_tags_of_row_and_run_together() -> None:
    own = tuple((f"k{number}", "v") for number in range(50))
    rows = [disk(2, "disk-a", tags=own)]
    assert survey(lambda: rows, source="f", tags=(("k1", "w"),)).problems.total == 0
    (problem,) = survey(lambda: rows, source="f", tags=(("x", "w"),)).problems.first
    assert (problem.line, problem.column) == (2, "Tags")
    assert problem.what.startswith("51 tags")


def test_survey_holds_a_deadline_against_the_turn_of_its_row() -> None:
    day_after = "2026-11-25T08:16:15+00:00"  # two seconds more than a day after BORN
    rows = [disk(line, f"disk-{line}", deadline=day_after) for line in range(2, 82)]
    found = survey(lambda: rows, source="f", start=BORN, rate_per_s=20)
    # Whole seconds: the 60th turn comes three seconds after the start, and is the first too late.
    assert [problem.line for problem in found.problems.first] == list(range(61, 82))
    assert survey(lambda: rows, source="f").problems.total == 0
    split = survey(
        lambda: [row._replace(profile=str(row.line % 4)) for row in rows], source="f", start=BORN
    )
    assert split.problems.total == 0


def test_problem_log_keeps_a_hundred_and_counts_all() -> None:
    log = ProblemLog()
    log.raise_if_any()
    for line in range(250, 0, -1):
        log.add(Problem("f", line, "", "x"))
    with pytest.raises(ManifestError) as caught:
        log.raise_if_any()
    assert caught.value.total == 250
    assert [problem.line for problem in caught.value.problems] == list(range(151, 251))


def test_forecast_is_of_the_longest_queue() -> None:
    assert forecast({"a": 100, "b": 2000}, 20.0) == 100.0
    assert forecast({}, 20.0) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (0.2, "under 1 s"),
        (45, "45 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (83 * 60, "1 h 23 min"),
        (183600, "2 d 3 h"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
