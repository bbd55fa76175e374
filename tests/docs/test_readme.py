"""The README is true: its commands run, its options exist, no option and no field is missing."""

from __future__ import annotations

import configparser
import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from batchsnap.cli.main import COMMANDS
from batchsnap.cloud.actions import RATES, policy_names
from batchsnap.errors import Exit
from batchsnap.ledger.record import Record
from batchsnap.lifecycle import TABLE
from batchsnap.postgres.address import parse
from tests.process import Cli, simulator, write_fleet
from tests.programs import python

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf8")
SHELL = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
NUMBERED = re.findall(
    r"`(batchsnap (?:discover|plan|run|status|report|copy|rollback) [^`]*)`", README
)


def command_of(name: str) -> click.Command:
    command: click.Command = importlib.import_module(f"batchsnap.cli.commands.{name}").command
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_readme(name: str) -> None:
    for parameter in command_of(name).params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for flag in (*parameter.opts, *parameter.secondary_opts):
                assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", README), (name, flag)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_and_has_help(name: str) -> None:
    assert f"batchsnap {name}" in README
    assert len(command_of(name).help or "") > 20
    for parameter in command_of(name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (name, parameter.name)


def test_the_unit_and_the_deployment_shown_start_a_worker_and_know_its_exit_codes() -> None:
    unit = re.search(r"```ini\n(.*?)```", README, re.DOTALL)
    deployment = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert unit and deployment
    parser = configparser.ConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit[1])
    service = parser["Service"]
    listed = re.search(r"command: \[(.*)\]", deployment[1])
    assert listed
    for words in (
        shlex.split(service["ExecStart"]),
        [word.strip().strip('"') for word in listed[1].split(",")],
    ):
        assert Path(words[0]).name == "batchsnap"
        command = command_of(words[1])
        given = command.make_context(words[1], words[2:]).params
        assert parse(given["url"]).database == "ops"
        assert given["metrics_port"] == 9464
    assert service["SuccessExitStatus"] == str(int(Exit.TERMINATED))
    assert service["RestartPreventExitStatus"] == f"{int(Exit.USAGE)} {int(Exit.LEDGER)}"
    grace = re.search(r"terminationGracePeriodSeconds: (\d+)", deployment[1])
    assert grace
    assert int(grace[1]) == int(service["TimeoutStopSec"]) > 30  # one request, and its record


def test_the_policy_allows_what_is_called_in_both_spellings() -> None:
    found = re.search(r"```json\n(.*?)```\n\n(.*?)\n\n", README, re.DOTALL)
    assert found
    [statement] = json.loads(found[1])["statement"]
    of_commands = ("DeleteSnapshots", "CopySnapshotCrossRegions")
    by_default = [name for name in RATES if name not in of_commands]
    assert sorted(statement["action"]) == sorted(policy_names(*by_default))
    for name in policy_names(*of_commands):
        assert f"`{name}`" in found[2]


def test_options_that_the_readme_names_exist() -> None:
    known = {
        flag
        for name in COMMANDS
        for parameter in command_of(name).params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    start = README.index("## Options")
    named = set(re.findall(r"`(--[a-z-]+)", README[start : README.index("## The ledger, field")]))

    assert named <= known, named - known


def test_every_field_and_event_of_the_ledger_is_explained() -> None:
    fields = README[README.index("## The ledger, field") : README.index("## Metrics")]
    events = {move for moves in TABLE.values() for move in moves} - {
        "found",
        "absent",
        "asked",
        "unseen",
    }

    for name in (*Record.__annotations__, *events, "settled", "run", "resumed", "finished"):
        assert f"`{name}`" in fields, name


@pytest.mark.slow
def test_the_commands_shown_work(cli: Cli, tmp_path: Path) -> None:
    """Those of the shell blocks and of the runbook, in their order, against the simulator."""
    (tmp_path / "ops" / "ledgers").mkdir(parents=True)
    fleet = write_fleet(tmp_path, 6).read_text()
    (tmp_path / "ops" / "fleet.csv").write_text(fleet)
    lines = [line for line in [*SHELL, *NUMBERED] if line.startswith("batchsnap ")]
    shown = [line for line in lines if not re.search(r"--region R|LEDGER|MANIFEST", line)]
    assert len(shown) > 12
    started: set[str] = set()
    with simulator(tmp_path, "--set", "creating_s=0.1") as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        cli.env["BATCHSNAP_SETTLE_FOR"] = "0.5s"
        for line in shown:
            words = [w.replace("/ops", "ops") for w in shlex.split(line)[1:]]
            for skipped in ("--metrics-port", "9464", "--watch"):
                if skipped in words:
                    words.remove(skipped)
            words = [w for w in words if "{region}" not in w and w != "--endpoint"]
            if words[0] == "discover":  # it overwrites nothing
                (tmp_path / "fleet.csv").unlink()
            cli.fresh = words[0] not in started  # each command once as users start it
            started.add(words[0])
            done = cli.run(*words)
            assert done.code == 0, (line, done.code, done.err)
            if words[0] == "discover":
                (tmp_path / "fleet.csv").write_text(fleet)


def test_the_program_shown_runs(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    write_fleet(tmp_path, 2)
    write_fleet(tmp_path, 2, name="more.csv")
    with simulator(tmp_path, "--set", "creating_s=0.1") as cloud:
        program = code[1].replace("ledger=", f'endpoint="{cloud.url}", settle_for_s=2.0, ledger=')
        done = python(tmp_path, program)

        assert done.code == 0, done.err
        assert done.out.startswith("DONE 2\n")
        assert done.out.count("accepted") == 2


def test_the_program_shown_passes_a_strict_checker(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    call = 'batchsnap.run("f", ledger="l", canary="5")'
    wrong = f"import batchsnap\n\n\nasync def wrong() -> int:\n    return await {call}\n"
    (tmp_path / "shown.py").write_text(code[1])
    (tmp_path / "wrong.py").write_text(wrong)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "shown.py", "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    told = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(told) == 2, done.stdout + done.stderr
    assert 'Argument "canary"' in "".join(told)  # the package is typed, so a slip is found
    assert all(line.startswith("wrong.py:") for line in told)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completion(shell: str, tmp_path: Path) -> None:
    def complete(what: str, **env: str) -> str:
        code = "from batchsnap.cli.main import main; main()"
        return python(tmp_path, code, _BATCHSNAP_COMPLETE=f"{shell}_{what}", **env).out

    assert "batchsnap" in complete("source")
    words = {"COMP_WORDS": "batchsnap ro", "COMP_CWORD": "ro" if shell == "fish" else "1"}
    assert "rollback" in complete("complete", **words)


def test_the_two_commands_are_single_lines_that_need_only_python_and_git() -> None:
    for mark in ("demo", "tests"):
        block = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", README, re.DOTALL)
        assert block is not None
        assert block[1].count("\n") == 1
        assert block[1].startswith("python3 -m venv .venv && .venv/bin/pip install")
