"""A short answer proves what it shows, never what it lacks: lists that change, or hide some."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.client.ports import Departure
from batchsnap.cloud.tc3 import Credential
from batchsnap.job.discover import Wanted, discover
from batchsnap.ledger.record import encode
from batchsnap.ledger.replay import folded
from batchsnap.lifecycle import State
from batchsnap.model import Fault, Quota, Reply, SignedRequest
from batchsnap.report.summary import summary_of
from batchsnap.settings import Settings
from tests.twin import MemoryCloud, Shown
from tests.virtual import run_virtual
from tests.world import World, header

DISK = "disk-00000000"
_SETS = {"DescribeSnapshots": "SnapshotSet", "DescribeDisks": "DiskSet"}


class Lists:
    """A cloud that only lists; `between` may change it after each page."""

    def __init__(self, items: list[dict[str, Any]], between: Callable[[int], None]) -> None:
        self.items = items
        self.between = between
        self.pages = 0
        self.hidden: set[str] = set()  # counted, not shown

    async def send(
        self, request: SignedRequest, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        body = json.loads(request.body)
        action = dict(request.headers)["X-TC-Action"]
        wanted = [f["Values"] for f in body.get("Filters", []) if f["Name"] == "disk-id"]
        items = [i for i in self.items if not wanted or i["DiskId"] in wanted[0]]
        shown = [i for i in items[body["Offset"] :][: body["Limit"]] if _id(i) not in self.hidden]
        answer = {"TotalCount": len(items), _SETS[action]: shown, "RequestId": "r"}
        self.pages += 1
        self.between(self.pages)
        return Reply(200, json.dumps({"Response": answer}).encode(), None, 1.0)


def _id(item: dict[str, Any]) -> str:
    return item.get("SnapshotId") or item["DiskId"]


class Open:
    """A gate, a clock and keys that wait for nothing."""

    rate_per_s = 20.0

    def of(self, quota: Quota) -> Any:
        return self

    async def start(self) -> int:
        return 0

    def leave(self, token: int) -> bool:
        return True

    def replied(self, token: int, *, throttled: bool) -> None:
        """Nothing is paced."""

    def wall(self) -> float:
        return 1_800_000_000.0

    async def get(self, profile: str) -> Credential:
        return Credential("AKIDmodel", "key", "", "model", None)


def access_to(cloud: Lists) -> Account:
    door: Any = Open()
    return Account(
        *("", "https://cbs.example.com"),
        **{"credentials": door, "gates": door, "clock": door},
        send=cloud,
        timeout_s=1.0,
    )


def snapshots(number: int, disk_id: str = DISK) -> list[dict[str, Any]]:
    return [{"SnapshotId": f"snap-{i:04}", "DiskId": disk_id} for i in range(number)]


def still(page: int) -> None:
    """Nothing changes between pages."""


def test_an_empty_set_that_counts_five_is_not_absence() -> None:
    cloud = Lists(snapshots(5), still)
    cloud.hidden = {item["SnapshotId"] for item in cloud.items}

    async def main() -> tuple[questions.Answer[Any], questions.Silence]:
        account = access_to(cloud)
        answer = (await questions.snapshots_on(account, "ap-tokyo", [DISK]))[DISK]
        return answer, await questions.silence(account, "ap-tokyo", {DISK: answer}, print)

    answer, silence = anyio.run(main)

    assert isinstance(answer, questions.Part)
    assert answer.why == (False, questions.SHORT, "DescribeSnapshots counts 5 and shows 0")
    assert not silence.proves(DISK)
    assert silence.why(DISK) == answer.why


@pytest.mark.parametrize("replaced", [False, True])
def test_a_snapshot_at_a_pages_edge_is_not_lost(replaced: bool) -> None:
    """An older one expires between two pages, so that all move up; the count may stay."""
    cloud = Lists(snapshots(150), still)

    def between(page: int) -> None:
        if page == 1:
            cloud.items = cloud.items[1:] + [{"SnapshotId": "new", "DiskId": DISK}] * replaced

    cloud.between = between
    answers = anyio.run(questions.snapshots_on, access_to(cloud), "ap-tokyo", [DISK])

    assert isinstance(answers[DISK], questions.Whole)
    assert [f.snapshot_id for f in answers[DISK].facts] == [i["SnapshotId"] for i in cloud.items]
    assert cloud.pages == 4


def test_a_disk_that_stays_short_is_not_the_others_flaw() -> None:
    cloud = Lists([*snapshots(2), {"SnapshotId": "snap-hidden", "DiskId": "disk-b"}], still)
    cloud.hidden = {"snap-hidden"}

    answers = anyio.run(
        questions.snapshots_on, access_to(cloud), "ap-tokyo", [DISK, "disk-b", "disk-c"]
    )

    assert [isinstance(answer, questions.Whole) for answer in answers.values()] == [
        True,
        False,
        True,
    ]
    assert [len(answer.facts) for answer in answers.values()] == [2, 0, 0]


@pytest.mark.parametrize("lasting", [False, True])
def test_discover_merges_what_short_lists_show_and_warns(lasting: bool) -> None:
    cloud = Lists([{"DiskId": f"disk-{i}", "Placement": {}} for i in range(3)], still)
    cloud.hidden, said = {"disk-1"}, []

    def between(page: int) -> None:
        cloud.hidden = {"disk-2"} if lasting else set()

    cloud.between = between
    found = anyio.run(discover, access_to(cloud), "ap-tokyo", Wanted(), said.append)

    assert not isinstance(found, questions.Unanswered)
    assert {one.disk.disk_id for one in found} == {"disk-0", "disk-1", "disk-2"}
    assert bool(said) == lasting


def hiding(folder: Path, fates: list[str], *disk_ids: str) -> tuple[World, MemoryCloud]:
    """A cloud that counts the snapshots of some disks and does not show them."""
    world = World(folder, fates, 0.0)
    cloud = world.cloud
    cloud.hidden, cloud.counts_hidden = lambda i: cloud.snapshots[i].disk_id in disk_ids, True
    world.disk.append(encode(header))
    return world, cloud


def test_a_doubt_is_not_ended_by_a_short_answer(tmp_path: Path) -> None:
    """The snapshot is there and counted, and not shown: nothing is sent again."""
    world, cloud = hiding(tmp_path, ["lost", "ok"], DISK)
    world.options = Settings(retry_for_s=600.0)
    world.loop.call_later(300.0, setattr, cloud, "hidden", lambda _: False)

    run_virtual(world.life([0], False, None), world.loop)

    assert len(cloud.made[DISK]) == 1
    assert summary_of(folded(world.records())).accepted == 1


def test_a_short_disk_defers_its_own_row_and_the_feed_goes_on(tmp_path: Path) -> None:
    """Its baseline would lack what is hidden, which would later pass for the row's own."""
    world, cloud = hiding(tmp_path, ["ok"] * 30, "disk-00000003")
    cloud.snapshots["snap-old"] = Shown("disk-00000003", "own")
    world.loop.call_later(100.0, setattr, cloud, "hidden", lambda _: False)

    async def main() -> None:
        await world.life(list(range(12)), True, 20.0)
        assert len(cloud.made) == 12  # those of the other eleven, and the old one
        assert len(cloud.made["disk-00000003"]) == 1
        await world.life(list(range(12)), True, None)

    run_virtual(main(), world.loop)
    [deferred] = [r for r in world.records() if r["event"] == "deferred"][:1]
    [intent] = [
        r for r in world.records() if r["event"] == "intent" and r["key"] == deferred["key"]
    ]

    assert (deferred["code"], deferred["disk_id"]) == (questions.SHORT, "disk-00000003")
    assert "disk-00000003: DescribeSnapshots counts" in deferred["message"]
    assert intent["baseline"] == ["snap-old"]
    assert summary_of(folded(world.records())).accepted == 12


def test_what_stays_short_stays_deferred(tmp_path: Path) -> None:
    world, cloud = hiding(tmp_path, ["ok"] * 30, "disk-00000003")
    cloud.snapshots["snap-old"] = Shown("disk-00000003", "own")
    world.options = Settings(retry_for_s=100.0)

    run_virtual(world.life(list(range(5)), True, None), world.loop)
    summary = summary_of(folded(world.records()))

    assert world.ended
    assert (summary.accepted, summary.deferred) == (4, 1)
    assert folded(world.records()).standing("disk-00000003").state is State.DEFERRED
