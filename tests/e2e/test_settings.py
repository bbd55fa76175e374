"""Settings that can't be carried out are refused before anything is written or sent."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import anyio
import orjson
import pytest

import batchsnap
from batchsnap.cli.main import every_option
from batchsnap.cli.options import DURATION
from batchsnap.errors import UsageError
from batchsnap.settings import SETTINGS, Given, Settings, option_of, shown
from tests.process import Cli, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
NOWHERE = "http://127.0.0.1:1"  # nothing leaves the machine, should it not be refused


@pytest.mark.parametrize(
    ("option", "value", "bound"),
    [
        ("--expire-after", "10000000d", "36525d"),
        ("--retry-for", "367d", "366d"),
        ("--settle-for", "25h", "1d"),
        ("--timeout", "61m", "1h"),
        ("--max-duration", "9000h", "366d"),
    ],
)
def test_a_duration_out_of_bounds(
    cli: Cli, tmp_path: Path, option: str, value: str, bound: str
) -> None:
    write_fleet(tmp_path, 2)
    with simulator(tmp_path) as cloud:
        to = {"BATCHSNAP_ENDPOINT": cloud.url}
        done = cli.run("run", "fleet.csv", option, value, **to)
        assert done.code == 2, done.err
        assert f"{option} {value.replace('9000h', '375d')}" in done.err
        assert bound in done.err
        assert not (tmp_path / LEDGER).exists()

        assert cli.run("run", "fleet.csv", option, bound, **to).code == 0
        before = (tmp_path / LEDGER).read_bytes()
        again = cli.run("run", "fleet.csv", option, value, **to)

        assert again.code == 2
        assert (tmp_path / LEDGER).read_bytes() == before
        assert cloud.state()["created"] == 2


@pytest.mark.parametrize(
    "name", ["expire_after_s", "retry_for_s", "settle_for_s", "timeout_s", "max_duration_s"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_library_call_with_no_duration(tmp_path: Path, name: str, value: float) -> None:
    fleet, ledger = write_fleet(tmp_path, 2), tmp_path / LEDGER

    async def call() -> None:
        given = {name: value}
        await batchsnap.run(fleet, ledger=ledger, endpoint=NOWHERE, **given)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match=name.removesuffix("_s").replace("_", "-")):
        anyio.run(call)
    assert not ledger.exists()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1", "1e-300"])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_rate_that_is_none(cli: Cli, tmp_path: Path, command: str, value: str) -> None:
    write_fleet(tmp_path, 2)
    cli.env.update(BATCHSNAP_ENDPOINT=NOWHERE, BATCHSNAP_MAX_DURATION="1s")

    for done in (
        cli.run(command, "fleet.csv", f"--rate={value}"),
        cli.run(command, "fleet.csv", BATCHSNAP_RATE=value),
    ):
        assert done.code == 2, done.err
        assert f"--rate {value} must be" in done.err
        assert "Traceback" not in done.err
    assert not (tmp_path / LEDGER).exists()


def test_the_slowest_rate_has_an_end(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2000)

    assert cli.run("plan", "fleet.csv", "--rate", "0.001").code == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_library_call_with_no_rate(tmp_path: Path, value: float) -> None:
    fleet, ledger = write_fleet(tmp_path, 2), tmp_path / LEDGER

    with pytest.raises(UsageError, match="--rate"):
        anyio.run(lambda: batchsnap.run(fleet, ledger=ledger, endpoint=NOWHERE, rate_per_s=value))
    assert not ledger.exists()


def test_strict_needs_a_timeout_that_its_slots_outlast(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    said = "--strict needs a --timeout below 1m, not "
    with simulator(tmp_path) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        both = cli.run("run", "fleet.csv", "--strict", "--timeout", "60s")
        assert both.code == 2, both.err
        assert f"{said}1m" in both.err
        assert not (tmp_path / LEDGER).exists()

        assert cli.run("run", "fleet.csv", "--timeout", "90s").code == 0
        before = (tmp_path / LEDGER).read_bytes()
        resumed = cli.run("run", "fleet.csv", "--strict")
        assert resumed.code == 2, resumed.err
        assert f"{said}90s" in resumed.err
        assert (tmp_path / LEDGER).read_bytes() == before

        assert cli.run("run", "fleet.csv", "--strict", "--timeout", "59s").code == 0


def test_every_setting_can_be_given_by_an_option_and_by_a_caller() -> None:
    named = {option.name: option.opts for option in every_option()}

    assert get_type_hints(Given) == {name: kind for name, (kind, _) in SETTINGS.items()}
    assert {name: [option_of(name)] for name in SETTINGS} == {n: named[n] for n in SETTINGS}


@pytest.mark.parametrize(
    "setting", [f for f in fields(Settings) if f.metadata], ids=lambda f: f.name
)
def test_a_number_is_refused_beyond_its_bounds_and_told_how_far_it_may_go(setting: Any) -> None:
    least, most = setting.metadata["least"], setting.metadata["most"]
    Settings(**{setting.name: setting.default}).check()

    for bound, beyond in ((least, least - 1), (most, most * 2), (least, math.nan)):
        if math.isinf(bound):
            continue
        with pytest.raises(UsageError) as refused:
            Settings(**{setting.name: beyond}).check()
        assert option_of(setting.name) in str(refused.value)
        assert shown(setting.name, bound) in str(refused.value)


@pytest.mark.parametrize(
    "setting", [f for f in fields(Settings) if f.metadata], ids=lambda f: f.name
)
def test_a_number_that_is_let_through_can_be_written_down(setting: Any) -> None:
    settings = Settings(**{setting.name: setting.metadata["most"]})
    assert orjson.loads(orjson.dumps(settings.to_json()))[setting.name] == getattr(
        settings, setting.name
    )


def test_a_count_of_errors_that_no_number_holds(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 2)
    done = cli.run("run", "fleet.csv", "--endpoint", NOWHERE, "--max-errors", "9" * 5000)
    assert done.code == 2, done.err
    assert "is neither N nor N%" in done.err
    assert not (tmp_path / LEDGER).exists()


@pytest.mark.parametrize("seconds", [0.1, 90.0, 1_234_567.0, 1_234_567.25, 3 * 86_400.0])
def test_a_duration_is_shown_as_its_option_takes_it(seconds: float) -> None:
    (said,) = Settings(expire_after_s=seconds).options()
    assert DURATION.convert(said.split()[1], None, None) == seconds


def test_a_rate_is_shown_whole() -> None:
    assert Settings(rate_per_s=12.3456789).options() == ["--rate 12.3456789"]


def test_the_readme_tells_each_default() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf8")
    for name, (_, default) in SETTINGS.items():
        if default:
            row = next(r for r in readme.splitlines() if r.startswith(f"| `{option_of(name)}"))
            assert row.split(" | ")[1].strip("`") == shown(name, default)
