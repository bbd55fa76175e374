"""What people type, and mistype: an answer that helps on, and never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.process import Cli, disk, sets, simulator, write_fleet
from tests.programs import python

LEDGER = "fleet.csv.ledger.jsonl"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("stats", "Did you mean 'status'?"),
        ("zzz", "There are demo, discover, plan"),
        ("apply", "Did you mean 'run'?"),
        ("fleet.csv", "batchsnap run fleet.csv"),
        ("x.ledger.jsonl", "batchsnap status x.ledger.jsonl"),
    ],
)
def test_an_unknown_command_gets_a_suggestion(cli: Cli, typed: str, answer: str) -> None:
    done = cli.run(typed)

    assert done.code == 2
    assert answer in done.err


def test_what_people_type_for_help_and_version(cli: Cli) -> None:
    assert cli.run("-V").out == cli.run("--version").out
    assert cli.run("help").out == cli.run("--help").out
    assert cli.run("help", "plan").out == cli.run("plan", "--help").out


@pytest.mark.parametrize(
    ("variables", "answer"),
    [
        ({"BATCHSNAP_CANARY": "few"}, "'--canary' (from BATCHSNAP_CANARY)"),
        ({"BATCHSNAP_RATE": "50"}, "(--rate comes from BATCHSNAP_RATE)"),
        ({"BATCHSNAP_METRICS_PORT": "70000"}, "BATCHSNAP_METRICS_PORT"),
        ({"BATCHSNAP_MAX_ERRORS": "101%"}, "101% is above 100%"),
        ({"BATCHSNAP_TAG": "env=prod\nproject=x"}, "'project' is reserved"),
    ],
)
def test_a_wrong_value_of_the_environment_names_it(
    cli: Cli, tmp_path: Path, variables: dict[str, str], answer: str
) -> None:
    write_fleet(tmp_path, 2)
    done = cli.run("run", "fleet.csv", **variables)

    assert done.code == 2, done.err
    assert answer in done.err
    assert not (tmp_path / LEDGER).exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--canary", "-1"),
        ("--max-creating", "-1"),
        ("--max-in-flight", "0"),
        ("--api-limit", "0"),
        ("--max-errors", "100.5%"),
        ("--tag", "qcs:a=b"),
        ("--tag", "a="),
        ("--tag", "a=b*c"),
    ],
)
def test_a_value_of_the_wrong_kind(cli: Cli, tmp_path: Path, option: str, value: str) -> None:
    write_fleet(tmp_path, 2)
    done = cli.run("plan", "fleet.csv", option, value)

    assert done.code == 2, done.out
    assert option in done.err


def test_fifty_tags_together_are_the_most(cli: Cli, tmp_path: Path) -> None:
    """Those of the row and those of the run."""
    header = ",".join(f"tag:r{i}" for i in range(26))
    (tmp_path / "fleet.csv").write_text(
        f"DiskId,Region,{header}\n{disk(0)},ap-guangzhou{',v' * 26}\n"
    )
    tags = [word for i in range(25) for word in ("--tag", f"k{i}=v")]

    assert cli.run("plan", "fleet.csv", *tags[:-2]).code == 0
    done = cli.run("plan", "fleet.csv", *tags)
    assert done.code == 2
    assert "51 tags" in done.err


def test_a_variable_holds_one_tag_a_line(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 1)
    plan = cli.run("plan", "fleet.csv", "--json", BATCHSNAP_TAG="team=data base\nenv=prod\n")

    assert plan.json["settings"]["tags"] == {"team": "data base", "env": "prod"}


def test_variables_that_nothing_reads_are_named_once(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    odd = {"BATCHSNAP_REGOIN": "ap-tokyo", "BATCHSNAP_HOOK": "x"}
    with simulator(tmp_path) as cloud:
        done = cli.run("run", "fleet.csv", BATCHSNAP_ENDPOINT=cloud.url, **odd)

    assert done.code == 0, done.err
    assert done.err.count("BATCHSNAP_REGOIN is read by no option: did you mean") == 1
    assert done.err.count("BATCHSNAP_HOOK is read by no option") == 1
    assert "BATCHSNAP_ENDPOINT is" not in done.err


def test_plan_takes_all_that_run_takes_and_says_how_it_understood(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text(f"DiskId,Region,Owner\n{disk(0)},ap-guangzou,me\n")
    given = ["--expire-after", "720h", "--tag", "env=a b", "--canary", "2", "--wait", "--yes"]
    done = cli.run("plan", "fleet.csv", *given)
    dry = cli.run("run", "fleet.csv", "--dry-run", *given)

    assert done.code == dry.code == 0, done.err
    assert "as understood: --expire-after 30d --tag 'env=a b' --canary 2 --wait" in done.out
    assert "ignored columns: Owner" in done.out
    assert "did you mean ap-guangzhou?" in done.err
    assert next(line for line in dry.out.splitlines() if "understood" in line) in done.out
    assert os.listdir(tmp_path) == ["fleet.csv"] or not (tmp_path / LEDGER).exists()


@pytest.mark.parametrize("option", ["--no-work", "--ask-first"])
def test_what_only_a_database_has_is_refused_with_a_file(
    cli: Cli, tmp_path: Path, option: str
) -> None:
    write_fleet(tmp_path, 2)
    done = cli.run("run", "fleet.csv", "--simulate", option)

    assert done.code == 2, done.err
    assert f"{option} is for a ledger in PostgreSQL" in done.err
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_ledger_is_found_beside_its_manifest(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    with simulator(tmp_path, *sets(creating_s=0.1)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        assert cli.run("run", "fleet.csv").code == 0
        status = cli.run("status", "fleet.csv", "--json")
        assert cli.run("wait", "fleet.csv", "--json", "--settle-for", "1s").json["ready"] == 2
    assert status.json["accepted"] == 2
    assert f"ledger {LEDGER}" in status.err
    assert cli.run("status", str(tmp_path / "fleet.csv")).code == 0
    assert cli.run("report", "fleet.csv", "-o", "x.html").code == 0
    assert (tmp_path / "x.html").read_text().startswith("<!doctype html>")
    assert cli.run("report", LEDGER, "-o", "x.json").code == 0
    assert json.loads((tmp_path / "x.json").read_text())["summary"]["ready"] == 2


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_ledger_is_no_manifest(cli: Cli, tmp_path: Path, command: str) -> None:
    write_fleet(tmp_path, 1)
    with simulator(tmp_path) as cloud:
        assert cli.run("run", "fleet.csv", BATCHSNAP_ENDPOINT=cloud.url).code == 0
    done = cli.run(command, LEDGER)

    assert done.code == 2
    assert f"{LEDGER} is the ledger of run" in done.err
    assert f"fleet.csv --ledger {LEDGER}" in done.err


def test_quiet_says_nothing_of_a_success(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    with simulator(tmp_path, *sets(creating_s=0.1)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        run = cli.run("run", "fleet.csv", "-q")
        wait = cli.run("wait", LEDGER, "-q", "--settle-for", "1s")
        rollback = cli.run("rollback", LEDGER, "-q", "--yes")

    assert (run.code, run.out, run.err) == (0, "", "")
    assert (wait.code, wait.out, wait.err) == (0, "", "")
    assert (rollback.code, rollback.out, rollback.err) == (0, "", "")


def test_a_discovery_can_be_reviewed_and_overwrites_nothing(cli: Cli, tmp_path: Path) -> None:
    with simulator(tmp_path, "--disks", "3") as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        call = ("discover", "--region", "ap-guangzhou", "-o", "fleet.csv")
        assert cli.run(*call).code == 0
        written = (tmp_path / "fleet.csv").read_text()
        again = cli.run(*call)
        assert again.code == 2
        assert "--force" in again.err
        assert (tmp_path / "fleet.csv").read_text() == written
        assert cli.run(*call, "--force").code == 0
        odd = cli.run("discover", "--region", "ap-guangzho")
        assert "did you mean ap-guangzhou?" in odd.err
        header = written.splitlines()[0].split(",")
        assert header[2:] == [
            "DiskName", "DiskSize", "DiskUsage", "InstanceId", "DiskState", "SnapshotCount",
        ]  # fmt: skip
        assert cli.run("run", "fleet.csv").code == 0


def test_what_is_made_of_system_disks_is_said(cli: Cli, tmp_path: Path) -> None:
    rows = [f"{disk(0)},SYSTEM_DISK", f"{disk(1)},DATA_DISK", f"{disk(2)},DATA_DISK"]
    for used, said in ((rows, "1 are of system disks"), (rows[1:], "")):
        text = "\n".join(f"{row},ap-tokyo" for row in used)
        (tmp_path / "fleet.csv").write_text(f"DiskId,DiskUsage,Region\n{text}\n")
        plan = cli.run("plan", "fleet.csv")

        assert plan.code == 0
        assert said in plan.out
        assert ("an image" in plan.out) == bool(said)


def test_windows_is_told_in_one_line(tmp_path: Path) -> None:
    """Where `fcntl` and its like can't be imported, nothing of them is needed to say so."""
    code = (
        "import sys, os, ntpath, pathlib\n"
        "for name in ('fcntl', 'pwd', 'termios', 'resource'): sys.modules[name] = None\n"
        "from batchsnap.cli import main\n"
        "main.os = type(sys)('os'); main.os.name = 'nt'\n"
        "main.main(['run', 'fleet.csv'])"
    )
    done = python(tmp_path, code)

    assert done.code == 2
    assert done.err == "batchsnap: runs on Linux and macOS only; on Windows use it in WSL\n"


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["run", "--help"], ["help", "plan"]])
def test_help_loads_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    code = (
        "import sys\nfrom batchsnap.cli.main import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'rich', 'jinja2', 'psycopg', 'anyio'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = python(tmp_path, code)

    assert done.code == 0, done.err


def completed(folder: Path, line: str) -> str:
    """What the shell is told where the last word of a line is to be completed."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    code = "from batchsnap.cli.main import main; main()"
    return python(folder, code, _BATCHSNAP_COMPLETE="bash_complete", **words).out


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("batchsnap run --region ap-sing", "ap-singapore"),
        ("batchsnap simulate --scenario hos", "hostile"),
        ("batchsnap run --profile pr", "prod"),
        ("batchsnap completion z", "zsh"),
    ],
)
def test_values_complete(tmp_path: Path, line: str, word: str) -> None:
    (tmp_path / ".tccli").mkdir()
    (tmp_path / ".tccli" / "prod.credential").write_text("{}")
    assert f"plain,{word}" in completed(tmp_path, line).split()


def test_a_manifest_is_completed_as_a_file(tmp_path: Path) -> None:
    assert completed(tmp_path, "batchsnap run f").startswith("file,")
