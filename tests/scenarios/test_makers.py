"""Who is asked about copies, and where: by regional hosts the destination has an account of its
own."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from batchsnap.client.questions import UNSEEN, Part, Whole
from batchsnap.cloud.faults import ReadRuling
from batchsnap.model import PlannedRequest
from batchsnap.settling.makers import Copier, Creator, maker_of

pytestmark = pytest.mark.anyio

HERE, THERE = "ap-guangzhou", "ap-beijing"


def request(number: int, disk: str = "") -> PlannedRequest:
    disk = disk or f"disk-{number}"
    key, name = f"{disk}/{number}", f"n-{number}"
    return PlannedRequest(key, 1, disk, "", HERE, "p", name, False, "", "", (), f"snap-{number}")


def item(snapshot_id: str, name: str, disk: str = "") -> dict[str, Any]:
    return {"SnapshotId": snapshot_id, "SnapshotName": name, "DiskId": disk}


class Host:
    """An account at one host, which has some snapshots of its region."""

    def __init__(self, *items: dict[str, Any], profile: str = "p", code: str = "") -> None:
        self.profile = profile
        self.asked: list[tuple[str, str]] = []
        self._items = items
        self._code = code

    async def read(self, action: str, region: str, body: bytes) -> ReadRuling:
        self.asked.append((action, region))
        if self._code:
            return ReadRuling("temporary", self._code, "no answer", {})
        asked = orjson.loads(body)
        ids = set(asked.get("SnapshotIds", ()))
        for each in asked.get("Filters", ()):
            if each["Name"] == "snapshot-name":
                ids |= {i["SnapshotId"] for i in self._items if i["SnapshotName"] in each["Values"]}
        found = [i for i in self._items if i["SnapshotId"] in ids]
        return ReadRuling("ok", "", "", {"TotalCount": len(found), "SnapshotSet": found})


def copier(there: Host) -> Copier:
    def reach(profile: str, region: str) -> Any:
        assert (profile, region) == ("p", THERE)
        return there

    return Copier(THERE, reach)


async def test_names_are_asked_for_in_the_destination_and_belong_to_the_rows_disk() -> None:
    here = Host()
    there = Host(item("copy-1", "n-1", "disk-other"), item("copy-2", "n-2"), item("x", "n-1x"))
    rows = [request(1), request(2), request(3)]

    answers = await copier(there).named(here, HERE, rows)  # type: ignore[arg-type]

    assert (here.asked, there.asked) == ([], [("DescribeSnapshots", THERE)])
    found = {disk: [f.snapshot_id for f in answer.facts] for disk, answer in answers.items()}
    assert found == {"disk-1": ["copy-1"], "disk-2": ["copy-2"], "disk-3": []}
    assert all(fact.disk_id == disk for disk, a in answers.items() for fact in a.facts)
    assert all(isinstance(answer, Whole) for answer in answers.values())


async def test_two_rows_of_one_disk_have_one_answer_for_both() -> None:
    there = Host(item("copy-1", "n-1"), item("copy-2", "n-2"))
    rows = [request(1, "disk-a"), request(2, "disk-a")]

    answers = await copier(there).named(Host(), HERE, rows)  # type: ignore[arg-type]

    assert {fact.snapshot_id for fact in answers["disk-a"].facts} == {"copy-1", "copy-2"}


async def test_sight_is_of_the_source_and_where_that_is() -> None:
    here, there = Host(item("snap-1", "s", "disk-1")), Host()
    rows = [request(1), request(2)]
    silent = {row.disk_id: Whole(()) for row in rows}

    silence = await copier(there).silence(here, HERE, silent, rows, print)  # type: ignore[arg-type]

    assert (here.asked, there.asked) == ([("DescribeSnapshots", HERE)], [])
    assert (silence.proves("disk-1"), silence.proves("disk-2")) == (True, False)
    assert silence.why("disk-2").code == UNSEEN
    assert "snap-2" in silence.why("disk-2").message


async def test_a_disk_is_silent_only_if_all_its_sources_are_seen() -> None:
    rows = [request(1, "disk-a"), request(2, "disk-a")]
    silent = {"disk-a": Whole(())}
    for shown, proves in ((("snap-1", "snap-2"), True), (("snap-1",), False), (("snap-2",), False)):
        here = Host(*(item(snapshot_id, "s") for snapshot_id in shown))
        silence = await copier(Host()).silence(here, HERE, silent, rows, print)  # type: ignore[arg-type]
        assert silence.proves("disk-a") == proves


async def test_no_answer_about_the_source_is_no_sight() -> None:
    """The region of the sources burns: nothing is concluded there."""
    here, rows = Host(code="http.502"), [request(1)]

    silence = await copier(Host()).silence(  # type: ignore[arg-type]
        here, HERE, {"disk-1": Whole(())}, rows, print
    )

    assert not silence.proves("disk-1")
    assert silence.why("disk-1").code == "http.502"


async def test_a_short_answer_about_copies_is_short_for_its_rows() -> None:
    answers = await copier(Host(code="http.502")).named(Host(), HERE, [request(1)])  # type: ignore[arg-type]
    assert isinstance(answers["disk-1"], Part)


async def test_a_ledger_tells_which_call_its_run_makes() -> None:
    def reach(profile: str, region: str) -> Any:
        raise AssertionError

    assert maker_of({"event": "run"}, reach) == Creator()
    made = maker_of({"event": "run", "copy_to": THERE}, reach)
    assert made == Copier(THERE, reach)
    body = orjson.loads(made.body(request(7)))
    assert body == {"SnapshotId": "snap-7", "SnapshotName": "n-7", "DestinationRegions": [THERE]}
