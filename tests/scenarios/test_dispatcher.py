"""A row's life where it is cut short: the real engine on virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batchsnap.ledger.record import encode, unstamp
from batchsnap.model import Fault, Reply
from tests.twin import MemoryCloud, refusal
from tests.virtual import run_virtual
from tests.world import World, header


class CodesCloud(MemoryCloud):
    """Refuses one creation after the other with these codes, the last for ever."""

    codes: list[str]

    async def _create(self, body: dict[str, Any], timeout_s: float) -> Reply | Fault:
        code = self.codes[min(self.creates, len(self.codes) - 1)]
        self.creates += 1
        return refusal(code)


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


def test_a_record_tells_until_when_its_region_rests(tmp_path: Path) -> None:
    world = World(tmp_path, ["ok"], 0.0)
    world.cloud = CodesCloud(world.loop, ["ok"], 0.0)
    full = "ResourceUnavailable.TooManyCreatingSnapshot"
    world.cloud.codes = [full, full, "AuthFailure.SecretIdNotFound"]
    world.disk.append(encode(header))

    run_virtual(world.life([0, 1], False, None), world.loop)

    told = [r for r in world.records() if r["event"] == "deferred"]
    rests = [unstamp(r["not_before"]) - unstamp(r["at"]) for r in told]
    assert [round(seconds) for seconds in rests] == [60, 60]  # both were out when it began
