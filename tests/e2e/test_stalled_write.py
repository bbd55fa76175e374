"""A host that stands still between the last check and the write puts no 21st into a second."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from batchsnap.ledger.record import unstamp
from tests.process import Cli, simulator, write_fleet
from tests.windows import worst_window


def test_a_start_is_dated_by_when_its_bytes_were_written(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 47)
    with simulator(tmp_path, "--scenario", "strict") as cloud:
        stall = "about_to_write:24:1.2"
        done = cli.run(
            "run", "fleet.csv", "--json", BATCHSNAP_ENDPOINT=cloud.url, BATCHSNAP_STALL=stall
        )

    assert done.code == 0, done.err
    written = sorted(unstamp(r["sent_at"]) for r in cli.records() if "sent_at" in r)
    assert len(written) >= 47
    assert worst_window(written) <= 20
    pauses = [later - before for before, later in pairwise(written)]
    assert any(pause > 1.1 for pause in pauses), "nothing stalled"
