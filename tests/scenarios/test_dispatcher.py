"""A row's life where it is cut short: the real engine on virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchsnap.ledger.record import encode
from batchsnap.model import Fault, Reply
from tests.virtual import run_virtual
from tests.world import ModelCloud, World, header


class CodesCloud(ModelCloud):
    """Refuses one creation after the other with these codes, the last for ever."""

    codes: list[str]

    async def _create(self, body: dict[str, Any], timeout_s: float) -> Reply | Fault:
        code = self.codes[min(self.calls, len(self.codes) - 1)]
        self.calls += 1
        error = {"Error": {"Code": code, "Message": code}, "RequestId": "r"}
        return Reply(200, json.dumps({"Response": error}).encode(), None, 50.0)


def test_a_row_that_waits_is_left_when_its_account_is_halted(tmp_path: Path) -> None:
    """It was busy and comes back in half a minute: nobody waits for that."""
    world = World(tmp_path, ["ok"], 0.0)
    world.cloud = CodesCloud(world.loop, ["ok"], 0.0)
    world.cloud.codes = ["InvalidDisk.Busy", "AuthFailure.SecretIdNotFound"]
    world.disk.append(encode(header))
    began = world.loop.time()

    run_virtual(world.life([0, 1, 2, 3], False, None), world.loop)

    assert world.ended
    assert world.loop.time() - began < 20.0
    of_first = [r["event"] for r in world.records() if r.get("key") == "disk-00000000"]
    assert of_first == ["intent", "deferred"]
