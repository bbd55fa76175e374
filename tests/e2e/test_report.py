"""Reports as files: every format, unsent rows listed, failed rows ready to run again."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from tests.ledgers import write_ledger
from tests.process import Cli, disk, sets, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
FAST = ("--rate", "400", "--api-limit", "400")


def test_every_row_is_told_also_the_unsent(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 12)
    with simulator(tmp_path, *sets(cap_per_s=0, bad_credentials=True)) as cloud:
        halted = cli.run("run", "fleet.csv", "--json", BATCHSNAP_ENDPOINT=cloud.url)
    assert halted.code == 3
    assert halted.json["halted"][0]["code"] == "AuthFailure.SecretIdNotFound"
    told = cli.run("report", LEDGER, "--format", "csv", "-o", "out.csv")
    data = cli.run("report", LEDGER, "--format", "json")

    assert told.code == data.code == 0
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert [row["disk_id"] for row in rows] == [disk(i) for i in range(12)]
    assert {row["state"] for row in rows} == {"pending"}
    assert json.loads(data.out)["summary"]["pending"] == 12


def test_failed_rows_become_a_manifest_that_runs(cli: Cli, tmp_path: Path) -> None:
    lines = [f'{disk(i)},ap-guangzhou,"own {i}",a=1;b=2' for i in range(30)]
    (tmp_path / "fleet.csv").write_text("DiskId,Region,SnapshotName,Tags\n" + "\n".join(lines))
    with simulator(tmp_path, *sets(cap_per_s=0, not_found=0.3)) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url}
        first = cli.run("run", "fleet.csv", "--json", *FAST, **env)
        assert first.code == 1
        assert first.json["rejected"] > 0
        failed = cli.run("report", LEDGER, "--failed", "-o", "failed.csv")
        assert failed.code == 0
        cloud.scenario(cap_per_s=0)
        again = cli.run("run", "failed.csv", "--json", *FAST, **env)

        assert again.code == 0, again.err
        assert again.json["accepted"] == first.json["rejected"]
        assert cloud.per_disk() == {disk(i): 1 for i in range(30)}
        assert {s["name"] for s in cloud.state()["snapshots"]} == {f"own {i}" for i in range(30)}


def test_a_spreadsheet_computes_nothing(cli: Cli, tmp_path: Path) -> None:
    write_ledger(tmp_path / "l.jsonl", 100, message='=cmd|"/c calc"!A1')

    told = cli.run("report", "l.jsonl", "--format", "csv")

    assert told.code == 0
    assert "is gone" in told.err
    assert "'=cmd|" in told.out
    assert not any(
        cell.startswith("=") for row in csv.reader(io.StringIO(told.out)) for cell in row
    )


def test_text_names_reasons_with_their_remedy(cli: Cli, tmp_path: Path) -> None:
    write_ledger(tmp_path / "l.jsonl", 200)

    text = cli.run("report", "l.jsonl")
    status = cli.run("status", "l.jsonl")
    page = cli.run("report", "l.jsonl", "--format", "html")

    assert text.code == status.code == 0
    for told in (text, status):
        assert "2 rejected: InvalidDisk.NotSupported" in told.out
        assert "take the disk out of the manifest" in told.out
    assert page.code == 2
    assert cli.run("report", "missing.jsonl").code == cli.run("status", "missing.jsonl").code == 4
