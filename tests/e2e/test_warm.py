"""A process that was forked from a ready one is what an interpreter of its own would be."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.process import Cli, sets, simulator, write_fleet


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("schema", "record"),
        ("plan", "fleet.csv", "--rate", "50"),
        ("run", "fleet.csv", "--simulate", "--ledger", "run.jsonl", "-q"),
        ("status", "there-is-none.jsonl"),
        ("nonsense",),
    ],
)
def test_both_say_the_same(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    write_fleet(tmp_path, 2)
    told = []
    for cli.fresh in (True, False):
        told.append(cli.run(*words, stdin=""))
        (tmp_path / "run.jsonl").unlink(missing_ok=True)

    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_both_end_alike(cli: Cli, tmp_path: Path, number: int, code: int) -> None:
    write_fleet(tmp_path, 40)
    with simulator(tmp_path, *sets(cap_per_s=0)) as cloud:
        codes = []
        for cli.fresh in (True, False):
            made = cloud.state()["created"]
            command = ("run", "fleet.csv", "--rate", "5", "--settle-for", "0.2s")
            process = cli.start(*command, BATCHSNAP_ENDPOINT=cloud.url)
            cloud.wait_for(lambda state, made=made: state["created"] > made, process)
            process.send_signal(number)
            process.communicate(timeout=60)
            codes.append(process.returncode)

    assert codes == [code, code]
