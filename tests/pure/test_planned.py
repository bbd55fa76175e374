"""A row that was planned, as the database keeps it."""

from __future__ import annotations

import orjson

from batchsnap.model import PlannedRequest
from batchsnap.postgres.schema import document, request_of
from tests.ledgers import request

FULL = PlannedRequest(
    *("k", 7, "disk-1", "dbp-1", "ap-tokyo", "ops", 'a "name" \\', True, "2027-01-08", "DATA_DISK"),
    (("team", "a"), ("", "")),
    "snap-1",
)


def test_it_is_read_as_it_was_written() -> None:
    for row in (FULL, request(3), request(3, tags=(("team", "a"),)), request(0, line=0, key="")):
        assert request_of(document(row).decode()) == row


def test_what_is_empty_is_not_kept_and_what_another_version_kept_is_read() -> None:
    plain = request(3, region="ap-tokyo")
    assert orjson.loads(document(plain)).keys() == {"key", "line", "disk_id", "region", "name"}
    assert request_of(orjson.dumps(plain._asdict()).decode()) == plain
