"""kill -9 at random moments under a hostile cloud, and resume: doubles and losses must be none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import alone
from tests.crash.hammer import hammer
from tests.process import Cli


def main(small: bool = False) -> dict[str, Any]:
    """Rounds of 25 kills over 300 rows (small: 3 over 20), each with its seed.

    `left_open` counts the calls that a kill left without an outcome: what had to be settled.
    """
    rounds, rows, kills = (1, 20, 3) if small else (8, 300, 25)
    found = []
    for seed in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            found.append(hammer(Cli(path), path, rows=rows, kills=kills, seed=seed))
    summed = ("killed", "left_open", "doubles", "losses", "contradictions")
    return {**{name: sum(each[name] for each in found) for name in summed}, "rows": found}


if __name__ == "__main__":
    alone(main, __doc__)
