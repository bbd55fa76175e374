"""Every bench is named in the benchmarks' README and can be run by the one command."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHES

FOLDER = Path(__file__).parents[2] / "benchmarks"
HELPERS = {
    "__init__",
    "__main__",
    "common",
    "contenders",
    "cheap_server",
    "floors",
    "parts",
    "workers",
}


def test_no_bench_is_left_out() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - HELPERS

    assert files == set(BENCHES)


@pytest.mark.parametrize("name", BENCHES)
def test_each_has_a_main_and_a_line_in_the_readme(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")

    assert f"| `{name}` |" in (FOLDER / "README.md").read_text()
    assert inspect.signature(module.main).parameters.keys() & {"small", "rows", "records_total"}
    assert module.__doc__
