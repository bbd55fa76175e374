"""Settings that can't be carried out are refused before anything is written or sent."""

from __future__ import annotations

import math
from pathlib import Path

import anyio
import pytest

import batchsnap
from batchsnap.errors import UsageError
from tests.process import Cli, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"


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
        await batchsnap.run(fleet, ledger=ledger, **{name: value})  # type: ignore[arg-type]

    with pytest.raises(UsageError, match=name.removesuffix("_s").replace("_", "-")):
        anyio.run(call)
    assert not ledger.exists()
