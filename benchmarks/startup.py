"""Start-up: what a command costs before it does anything, against `python -c pass`."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import alone

_HEAVY = ("aiohttp", "rich", "jinja2", "psycopg")


def _seconds(arguments: list[str], rounds: int) -> float:
    """Best of some rounds: the rest is the machine's noise."""
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        best = min(best, time.perf_counter() - began)
    return best


def _loaded(*arguments: str) -> list[str]:
    """Heavy libraries that a command imports."""
    code = (
        "import sys\nfrom batchsnap.cli.main import main\n"
        f"try: main({list(arguments)!r})\nexcept SystemExit: pass\n"
        f"print([n for n in {_HEAVY!r} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


def main(small: bool = False) -> dict[str, Any]:
    """Seconds, the ratio to an empty interpreter, and heavy imports, which must be none."""
    rounds = 2 if small else 10
    with tempfile.TemporaryDirectory() as folder:
        fleet = Path(folder) / "fleet.csv"
        rows = "".join(f"disk-{n:08x},ap-guangzhou\n" for n in range(10))
        fleet.write_text(f"DiskId,Region\n{rows}")
        bare = _seconds(["-c", "pass"], rounds)
        commands = {"--version": ["--version"], "--help": ["--help"], "plan": ["plan", str(fleet)]}
        result: dict[str, Any] = {"bare_s": round(bare, 4), "rows": []}
        for name, arguments in commands.items():
            seconds = _seconds(["-m", "batchsnap", *arguments], rounds)
            heavy = _loaded(*arguments)
            assert not heavy, (name, heavy)
            result["rows"].append(
                {
                    "command": name,
                    "s": round(seconds, 3),
                    "ratio": round(seconds / bare, 1),
                    "heavy": ",".join(heavy) or "none",
                }
            )
    return result


if __name__ == "__main__":
    alone(main, __doc__)
