"""Records of many quotas as one stream, read a few at a time."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from batchsnap.ledger.record import stamp
from batchsnap.postgres import reading
from batchsnap.postgres.reading import DatabaseFollower, records
from tests.postgres import Base

BORN = 1_795_500_000.0


def fill(base: Base, quotas: dict[int, list[float]]) -> None:
    """A ledger `x` whose quotas have a record at each of these times."""
    base.sql("insert into batchsnap.ledger (name, header) values ('x', '{\"event\": \"run\"}')")
    for quota, times in quotas.items():
        place = f"source {quota}" if quota > 1 else ""
        base.sql(
            "insert into batchsnap.quota (ledger, source, host) values (1, %s, %s)", place, place
        )
        lines = [
            orjson.dumps(
                {"event": "later", "at": stamp(BORN + at), "quota": quota, "nth": nth}
            ).decode()
            for nth, at in enumerate(times)
        ]
        base.sql(
            "insert into batchsnap.record select %s, n, line from "
            "unnest(%s::text[]) with ordinality l (line, n)",
            quota,
            lines,
        )


def heard(told: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """(quota, which of its records) of each that is told."""
    return [(record["quota"], record["nth"]) for record in told if "nth" in record]


QUOTAS = {
    1: [0.0, 500.0],  # the run's own
    2: [1.0 + nth for nth in range(100)],
    3: [1.5 + nth * 10 for nth in range(12)],
    4: [],
    5: [20.0] * 40 + [19.0] * 5 + [21.0] * 50,  # many at once; the clock was set back
    6: [400.25 + nth / 7 for nth in range(70)],
}


def in_order(quotas: dict[int, list[float]]) -> list[float]:
    """The times that order all records: the latest so far of each quota."""
    return sorted(max(times[: nth + 1]) for times in quotas.values() for nth in range(len(times)))


@pytest.mark.parametrize("ahead", [1, 3, 1000])
def test_records_come_by_their_times_and_each_quotas_in_its_order(
    base: Base, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    monkeypatch.setattr(reading, "_AHEAD", ahead)
    monkeypatch.setattr(reading, "_AHEAD_LEAST", ahead)
    fill(base, QUOTAS)
    told = list(records(base.address("x")))
    assert told[0] == {"event": "run"}
    found = heard(told)
    for quota, times in QUOTAS.items():
        assert [nth for of, nth in found if of == quota] == list(range(len(times)))
    latest = [max(QUOTAS[quota][: nth + 1]) for quota, nth in found]
    assert latest == in_order(QUOTAS)


def test_a_follower_tells_the_same_and_then_what_follows(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_AHEAD", 1)
    monkeypatch.setattr(reading, "_AHEAD_LEAST", 30)
    fill(base, QUOTAS)
    follower, told = DatabaseFollower(base.address("x")), []
    while more := follower.more():
        assert len(more) < 30 * len(QUOTAS) * 2
        told += more
    assert told == list(records(base.address("x")))
    for quota, at in ((4, 7.0), (2, 300.0), (3, 300.0), (2, 301.0)):
        record = {"at": stamp(BORN + at), "quota": quota, "nth": at}
        base.sql(
            "insert into batchsnap.record select %s::integer, coalesce(max(seq), 0) + 1, %s "
            "from batchsnap.record where quota = %s",
            quota,
            orjson.dumps(record).decode(),
            quota,
        )
    assert heard(follower.more()) == [(4, 7.0), (2, 300.0), (3, 300.0), (2, 301.0)]
    assert not follower.more()
    assert not follower.more()
    follower.close()
