"""What the benches share: a child's cost, a cloud for any key, aligned tables, the command line."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchsnap.cloud.tc3 import Credential
from tests.process import SECRET_ID, SECRET_KEY, environment

ROOT = Path(__file__).parent.parent
CREDENTIAL = Credential(SECRET_ID, SECRET_KEY, "", "bench", None)
CAP_PER_S = 20

# A bare interpreter between us and the child: Linux begins a child's peak with its parent's.
_LAUNCHER = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "wall_s": time.perf_counter() - began,
    "cpu_s": used.ru_utime + used.ru_stime,
    "peak_mb": used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3 / 1.024),
    "code": done.returncode,
    "out": done.stdout.decode(),
    "err": done.stderr.decode(),
}))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a finished child took, and what it said."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    code: int
    out: str
    err: str


def cost(command: Sequence[str], folder: Path, **env: str) -> Cost:
    """Run `python COMMAND…` in a folder of its own to the end."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", _LAUNCHER, sys.executable, *command],
        cwd=folder,
        env=environment(folder, **env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return Cost(**json.loads(done.stdout))


@contextmanager
def server(module: str, *args: str) -> Iterator[tuple[str, int]]:
    """(URL, pid) of a server module of ours, which lives until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *args],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.communicate("")


def busy_s(pid: int) -> float:
    """CPU seconds of a living process; nan where the host does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def medians(rounds: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over rounds of one shape."""
    found = list(rounds)
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of one shape as aligned columns, numbers to the right."""
    names = list(rows[0])
    lines = [names, *([_shown(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    right = [any(isinstance(row.get(name), int | float) for row in rows) for name in names]
    return "\n".join(
        "  ".join(
            text.rjust(width) if numeric else text.ljust(width)
            for text, width, numeric in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def report(result: Mapping[str, Any]) -> str:
    """A bench's result for people: its table of `rows`, what else it found, what was skipped."""
    rows = result.get("rows")
    if not isinstance(rows, list) or not rows:
        return json.dumps(result, indent=1, ensure_ascii=False)
    rest = {name: value for name, value in result.items() if name not in {"rows", "skipped"}}
    lines = [" · ".join(f"{name} {_shown(value)}" for name, value in rest.items()), table(rows)]
    lines += [f"skipped {name}: {why}" for name, why in result.get("skipped", {}).items()]
    return "\n".join(line for line in lines if line)


def alone(main: Callable[..., dict[str, Any]], doc: str | None) -> None:
    """`python -m benchmarks.NAME [--small] [--json]`: run one bench."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--small", action="store_true", help="a tiny size, so that it doesn't rot")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    options = parser.parse_args()
    began = time.perf_counter()
    result = main(small=options.small)
    print(json.dumps(result) if options.json else report(result))
    if not options.json:
        print(f"({time.perf_counter() - began:.1f} s)")
