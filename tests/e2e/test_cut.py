"""A ledger whose end was cut: its silence about a row is no proof that the row was never sent."""

from __future__ import annotations

from pathlib import Path

from tests.process import Cli, disk, sets, simulator

LEDGER = "fleet.csv.ledger.jsonl"


def write_named(folder: Path, *names: str, manifest: str = "fleet.csv") -> None:
    rows = "".join(f"{disk(i)},ap-guangzhou,{name}\n" for i, name in enumerate(names))
    (folder / manifest).write_text("DiskId,Region,SnapshotName\n" + rows)


def test_a_row_with_an_older_namesake_is_refused_until_it_has_another_name(
    cli: Cli, tmp_path: Path
) -> None:
    """Whether the namesake is ours only a person can tell, and what the person says is heard."""
    write_named(tmp_path, "nightly", "nightly", manifest="older.csv")
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        cli.run("run", "older.csv")
        write_named(tmp_path, "nightly")
        cli.run("run", "fleet.csv")
        with (tmp_path / LEDGER).open("ab") as ledger:
            ledger.write(b'{"seq":')
        write_named(tmp_path, "nightly", "nightly", "nightly")
        refused = cli.run("run", "fleet.csv", "--json")
        same = cli.run("run", "fleet.csv", "--json", "--retry-failed")
        write_named(tmp_path, "nightly", "mine", "nightly")
        renamed = cli.run("run", "fleet.csv", "--json", "--retry-failed")

        assert (refused.code, same.code, renamed.code) == (1, 1, 0), renamed.err
        assert (refused.json["accepted"], refused.json["rejected"]) == (2, 1)
        assert cloud.per_disk() == {disk(0): 2, disk(1): 2, disk(2): 1}
    [said, again] = [r for r in cli.records() if r["event"] == "rejected"]
    assert said["code"] == again["code"] == "ledger.cut"
    assert "another SnapshotName" in said["message"]
