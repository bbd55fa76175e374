"""The schemas that are printed hold for what is written, and name all that is."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from batchsnap.cli.commands.schema import NAMES
from batchsnap.ledger.record import Record
from tests.process import Cli, disk, sets, simulator

LEDGER = "fleet.csv.ledger.jsonl"
FAST = ("--settle-for", "0.5s", "--rate", "200", "--api-limit", "200")


def check(schema: dict[str, Any], value: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate(value)
    assert set(value) <= set(schema["properties"]), value


@pytest.mark.slow
def test_all_that_is_written_keeps_to_its_schema(cli: Cli, tmp_path: Path) -> None:
    """A run with every kind of trouble that is soon over, interrupted, resumed, rolled back."""
    schemas = cli.run("schema").json
    rows = [f"{disk(i)},ap-guangzhou,{'own' * (i < 3)}" for i in range(80)]
    (tmp_path / "fleet.csv").write_text("DiskId,Region,SnapshotName\n" + "\n".join(rows) + "\n")
    faults = {"not_found": 0.05, "internal_error": 0.1}
    logged: list[str] = []
    with simulator(tmp_path, *sets(cap_per_s=0, creating_s=0.1, latency_ms=50.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        cloud.scenario(**faults)
        process = cli.start("run", "fleet.csv", "-vv", "--log-format", "json", *FAST)
        cloud.wait_for(lambda state: state["created"] >= 3, process)
        process.send_signal(signal.SIGINT)
        logged += process.communicate(timeout=60)[1].splitlines()
        done = cli.run("run", "fleet.csv", "--json", "-v", "--log-format", "json", "--wait", *FAST)
        assert done.code == 1, done.err
        logged += done.err.splitlines()
        status = cli.run("status", LEDGER, "--json").json
        deleted = cli.run("rollback", LEDGER, "--yes", "--json").json

    for summary in (done.json, status, deleted):
        check(schemas["summary"], summary)
    for line in logged:
        check(schemas["log"], json.loads(line))
    records = cli.records()
    for record in records:
        check(schemas["record"], record)
    events = {record["event"] for record in records}
    assert events >= {"run", "resumed", "finished", "intent", "accepted", "in_doubt", "settled"}
    assert events >= {"rejected", "ready", "deleting", "deleted"}


def test_every_member_of_a_record_is_in_its_schema(cli: Cli) -> None:
    assert set(Record.__annotations__) <= set(cli.run("schema", "record").json["properties"])


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_and_has_a_version(cli: Cli, name: str) -> None:
    schema = cli.run("schema", name).json

    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"batchsnap:{name}:1"
