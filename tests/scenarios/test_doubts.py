"""Doubts that end badly, or late: the real engine on virtual time, against the model cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchsnap.ledger.record import encode
from batchsnap.model import Fault, Reply
from tests.scenarios.test_promise import ModelCloud, World, header
from tests.virtual import run_virtual


class RefusingCloud(ModelCloud):
    """Refuses every creation with a code that nobody knows."""

    async def _create(self, body: dict[str, Any], timeout_s: float) -> Reply | Fault:
        self.calls += 1
        error = {"Error": {"Code": "Foo.Bar", "Message": "no"}, "RequestId": "r"}
        return Reply(200, json.dumps({"Response": error}).encode(), None, 50.0)


def test_rows_that_are_all_refused_after_a_doubt_halt_their_region(tmp_path: Path) -> None:
    """The refusal that halts is itself of a row in doubt."""
    world = World(tmp_path, ["ok"], 0.0)
    world.cloud = RefusingCloud(world.loop, ["ok"], 0.0)
    world.disk.append(encode(header))

    run_virtual(world.life(list(range(12)), False, None), world.loop)
    records = world.records()

    assert world.ended
    assert {(r["code"], r["scope"]) for r in records if r["event"] == "halted"} == {
        ("Foo.Bar", "region")
    }
    last = {r["key"]: r["event"] for r in records if "key" in r and not r.get("final")}
    assert list(last.values()).count("rejected") >= 10
    assert "in_doubt" not in last.values()
