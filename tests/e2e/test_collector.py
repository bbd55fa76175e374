"""A row leaves no cycle of references behind, so the collector may rest while rows are paced."""

from __future__ import annotations

from pathlib import Path

from tests.process import Cloud, sets, simulator, write_fleet
from tests.programs import python

_RUN = """
import atexit, gc
from batchsnap.cli.main import main
gc.collect()
gc.disable()
atexit.register(lambda: print("unreachable:", gc.collect(), flush=True))
main()
"""


def _unreachable(folder: Path, cloud: Cloud, rows: int) -> int:
    """What a run of so many rows left to the collector."""
    folder.mkdir()
    write_fleet(folder, rows)
    command = ("run", "fleet.csv", "-q", "--endpoint", cloud.url)
    done = python(folder, _RUN, *command, "--rate", "400", "--api-limit", "400")
    assert done.code == 0, done.err
    return int(done.out.rpartition("unreachable:")[2])


def test_rows_leave_nothing_to_the_collector(tmp_path: Path) -> None:
    """Not one object a row; a slow host leaves some once, with what is imported only there."""
    with simulator(tmp_path, *sets(cap_per_s=0)) as cloud:
        few = _unreachable(tmp_path / "few", cloud, 5)
        many = _unreachable(tmp_path / "many", cloud, 305)
    assert many - few < 300, (few, many)
