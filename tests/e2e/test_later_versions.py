"""A ledger in which a later version has told more of the run than this one knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsnap.ledger.record import Record, encode
from tests.process import Cli, disk, sets, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
FAST = ("--rate", "400", "--api-limit", "400")
LATER: list[Record] = [
    {"event": "stopped", "at": "2026-11-24T08:16:13.042Z"},
    {"event": "claimed", "pair": ["", "cbs"], "settings": {"rate_per_s": 1}},  # type: ignore
    {"event": "moved", "to": "postgresql://"},  # type: ignore[typeddict-unknown-key]
]


def tell(path: Path, *records: Record) -> None:
    """Append these, as that version would."""
    seq = path.read_bytes().count(b"\n")
    with path.open("ab") as file:
        for number, record in enumerate(records, seq):
            file.write(encode({**record, "seq": number, "synced": number - 1}))


@pytest.mark.parametrize("finished", [False, True])
def test_it_is_run_read_and_told(cli: Cli, tmp_path: Path, finished: bool) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        cli.run("run", "fleet.csv", *FAST)
        if not finished:
            write_fleet(tmp_path, 5)
        tell(tmp_path / LEDGER, *LATER)
        told = [cli.run("status", LEDGER), cli.run("status", LEDGER, "--watch")]
        told += [cli.run("report", LEDGER, "--format", kind) for kind in ("text", "json", "csv")]
        told.append(cli.run("report", LEDGER, "--format", "html", "-o", "page.html"))
        told.append(cli.run("plan", "fleet.csv", "--ledger", LEDGER))
        again = cli.run("run", "fleet.csv", *FAST)
        told += [again, cli.run("settle", LEDGER), cli.run("wait", LEDGER)]

        assert [(done.code, done.err) for done in told if done.code] == []
        assert ("nothing is left to do" in again.err) is finished
        assert cloud.per_disk() == {disk(i): 1 for i in range(3 if finished else 5)}


def test_what_it_tells_of_a_row_is_not_passed_over(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 1)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.run("run", "fleet.csv", "--endpoint", cloud.url)
    tell(tmp_path / LEDGER, {**cli.records()[-2], "event": "copied"})  # type: ignore
    for command in (("status", LEDGER), ("run", "fleet.csv")):
        refused = cli.run(*command)
        assert refused.code == 4
        assert "copied" in refused.err
