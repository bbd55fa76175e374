"""Bench: planning a CSV of many rows, against the bare loops of the csv module.

    python -m benchmarks.manifest [--rows N]

Each contender runs in a process of its own, over the same file, in turn; the best of three
rounds counts. To reach: `plan` at most 2.5 times `csv.DictReader`, and a peak of 200 MB.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROUNDS = 3
_REGIONS = ("ap-guangzhou", "ap-singapore", "eu-frankfurt", "na-siliconvalley")
_COLUMNS = {"ids": ("DiskId", "Region"), "names": ("DiskId", "Region", "SnapshotName")}


def write_fleet(path: Path, columns: tuple[str, ...], rows: int) -> None:
    """A fleet of distinct disks, the same for the same arguments."""
    rand = random.Random(20)
    letters = string.ascii_lowercase + string.digits
    with path.open("w", newline="") as file:
        write = csv.writer(file).writerow
        write(columns)
        for number in range(rows):
            tail = "".join(rand.choices(letters, k=3)) + f"{number:05x}"
            write((f"disk-{tail}", rand.choice(_REGIONS), f"nightly-{tail}")[: len(columns)])


def _reader(path: str) -> int:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return sum(1 for _row in csv.reader(file)) - 1


def _dict_reader(path: str) -> int:
    count = 0
    with Path(path).open(newline="", encoding="utf-8") as file:
        for _row in csv.DictReader(file):
            count += 1
    return count


def _plan(path: str) -> int:
    from batchsnap.manifest.reader import Manifest
    from batchsnap.plan import compile_name, survey
    from batchsnap.settings import NAME_DEFAULT

    born = datetime(2026, 11, 24, tzinfo=UTC)
    with Manifest.open(path) as manifest:
        namer = compile_name(NAME_DEFAULT).for_run("bench", born)
        found = survey(manifest.rows, source=manifest.name, namer=namer, start=born)
        manifest.digest()
    found.problems.raise_if_any()
    return found.rows


_CONTENDERS: dict[str, Callable[[str], int]] = {
    "csv.reader": _reader,
    "csv.DictReader": _dict_reader,
    "plan": _plan,
}


def _child(name: str, path: str) -> None:
    began = time.perf_counter()
    rows = _CONTENDERS[name](path)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, bytes on macOS
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mb": peak_mb}))


def _measured(path: Path, rows: int) -> dict[str, dict[str, float]]:
    best: dict[str, dict[str, float]] = {}
    for _round in range(ROUNDS):
        for name in _CONTENDERS:
            command = [sys.executable, "-m", "benchmarks.manifest", "--child", name, str(path)]
            said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            assert said["rows"] == rows, f"{name} met {said['rows']} rows of {rows}"
            if name not in best or said["seconds"] < best[name]["seconds"]:
                best[name] = said
    return best


def main(rows: int = 1_000_000) -> dict[str, Any]:
    """Measures both kinds of fleet; seconds, peaks in MB, and ratios to the bare loops."""
    result: dict[str, Any] = {"rows": rows}
    with tempfile.TemporaryDirectory() as folder:
        for kind, columns in _COLUMNS.items():
            path = Path(folder) / f"{kind}.csv"
            write_fleet(path, columns, rows)
            best = _measured(path, rows)
            plan_s = best["plan"]["seconds"]
            result[kind] = {
                "columns": ",".join(columns),
                **{f"{name} s": round(each["seconds"], 3) for name, each in best.items()},
                "plan / csv.reader": round(plan_s / best["csv.reader"]["seconds"], 2),
                "plan / csv.DictReader": round(plan_s / best["csv.DictReader"]["seconds"], 2),
                "plan peak MB": round(best["plan"]["peak_mb"], 1),
            }
    return result


def shown(result: dict[str, Any]) -> str:
    kinds = list(_COLUMNS)
    lines = [f"{result['rows']:,} rows".ljust(24) + "".join(kind.rjust(32) for kind in kinds)]
    for measure in result[kinds[0]]:
        cells = "".join(str(result[kind][measure]).rjust(32) for kind in kinds)
        lines.append(measure.ljust(24) + cells)
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(*options.child)
    else:
        outcome = main(options.rows)
        print(shown(outcome))
        print(json.dumps(outcome))
