"""`python -m benchmarks [--small] [NAME …]`: run benches, print tables, or JSON with --json."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.common import report

BENCHES = (
    *("startup", "signature", "manifest", "ledger", "pacing", "ceiling", "flat"),
    *("goodput", "quotas", "duplicates", "kills", "cluster"),
)
SMALL_AT_ONCE = 4
_SMALL: dict[str, dict[str, Any]] = {  # of benches that are told a number of rows
    "manifest": {"rows": 20_000},
    "ledger": {"records_total": 20_000, "seconds": 0.3},
}


def run(name: str, *, small: bool) -> tuple[dict[str, Any], str]:
    """One bench's figures, and how they read."""
    bench = importlib.import_module(f"benchmarks.{name}")
    if "small" in inspect.signature(bench.main).parameters:
        result: dict[str, Any] = bench.main(small=small)
    else:
        result = bench.main(**_SMALL[name]) if small else bench.main()
    return result, getattr(bench, "shown", report)(result)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--small", action="store_true", help="tiny sizes, so that none rots")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write it there")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    results = {}

    def one(name: str) -> tuple[dict[str, Any], str]:
        began = time.perf_counter()
        result, shown = run(name, small=options.small)
        return result, f"== {name} ({time.perf_counter() - began:.1f} s)\n{shown}\n"

    names = options.names or BENCHES
    # Tiny sizes say nothing of speed and mostly wait; a figure is measured with nothing beside it.
    with ThreadPoolExecutor(SMALL_AT_ONCE if options.small else 1) as pool:
        for name, (result, shown) in zip(names, pool.map(one, names), strict=True):
            results[name] = result
            if not options.json:
                print(shown, flush=True)
    if options.json:
        print(json.dumps(results))
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
