"""`python -m benchmarks [--small] [NAME …]`: run benches, print tables, or JSON with --json."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import time
from typing import Any

BENCHES = ("startup", "signature", "manifest", "ledger", "pacing", "ceiling", "kills")
_SMALL = {"manifest": 20_000, "ledger": 20_000}


def run(name: str, *, small: bool) -> dict[str, Any]:
    """One bench's figures. Benches over a number of rows are told it, others `small`."""
    main = importlib.import_module(f"benchmarks.{name}").main
    if "small" in inspect.signature(main).parameters:
        result: dict[str, Any] = main(small=small)
    else:
        result = main(_SMALL[name]) if small else main()
    return result


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of one shape as aligned columns."""
    names = list(rows[0])
    cells = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--small", action="store_true", help="tiny sizes, so that none rots")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    results = {}
    for name in options.names or BENCHES:
        began = time.perf_counter()
        results[name] = run(name, small=options.small)
        if not options.json:
            print(f"== {name} ({time.perf_counter() - began:.1f} s)")
            rows = results[name].get("rows")
            if isinstance(rows, list) and rows and isinstance(rows[0], dict):
                print(table(rows))
            else:
                print(json.dumps(results[name], indent=1))
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
