"""The simulator's rooms: few, on the map, small, and none of their words used twice."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import batchsnap
from batchsnap import simulator

ROOMS = sorted(Path(simulator.__file__).parent.glob("*.py"))


def classes(path: Path) -> set[str]:
    nodes = ast.parse(path.read_text()).body
    names = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    return {name for name in names if not name.startswith("_")}


def test_every_room_is_on_the_map() -> None:
    on_the_map = re.findall(r"^(\w+) +F[01]  ", simulator.__doc__ or "", re.MULTILINE)
    assert sorted(on_the_map) == [path.stem for path in ROOMS if path.stem != "__init__"]
    assert len(on_the_map) <= 12


def test_every_room_is_small() -> None:
    for path in ROOMS:
        text = path.read_text()
        assert text.count("\n") < 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, (path, node.name)


def test_one_word_means_one_class() -> None:
    ours = [name for path in ROOMS for name in sorted(classes(path))]
    assert len(ours) == len(set(ours))
    for path in Path(batchsnap.__file__).parent.rglob("*.py"):
        if path not in ROOMS:
            assert not classes(path).intersection(ours), path
