"""The house as it is laid out: small rooms, true maps, twelve a package, one word one class."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

import batchsnap
from batchsnap.lifecycle import Event

HOUSE = Path(batchsnap.__file__).parent
PACKAGES = sorted(path.parent for path in HOUSE.rglob("__init__.py"))
ROOMS = sorted(HOUSE.rglob("*.py"))
LINES_MAX, FUNCTION_LINES_MAX, ROOMS_MAX = 300, 60, 12
HOUSE_MAX = 105  # rooms
_PURE = re.compile(r"^[-` ]*(\w+)`?\s+F0\b", re.MULTILINE)
_COMMANDS = HOUSE / "cli" / "commands"  # a file each
_BESIDE = (_COMMANDS, HOUSE / "cluster", HOUSE / "owners", HOUSE / "postgres")


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf8"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_has_few_rooms_and_its_map_has_all_of_them(package: Path) -> None:
    if package == _COMMANDS:
        return
    rooms = sorted(path.stem for path in package.glob("*.py") if path.stem != "__init__")
    packages = [path.parent.name for path in package.glob("*/__init__.py")]
    told = ast.get_docstring(_tree(package / "__init__.py")) or ""
    assert len(rooms) <= ROOMS_MAX
    words = {word.strip("`/") for line in told.splitlines() for word in line.split()[:2]}
    assert not [room for room in rooms + packages if room not in words]


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_room_is_small_and_so_are_its_functions(room: Path) -> None:
    assert room.read_text(encoding="utf8").count("\n") <= LINES_MAX
    long = [
        node.name
        for node in ast.walk(_tree(room))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert not long


def test_the_house_has_few_rooms() -> None:
    """Without commands, and what many machines on one run need besides. A new subject may need a
    room of its own: then the bound says so."""
    rooms = [r for r in ROOMS if r.stem != "__init__" and r.parent not in _BESIDE]
    assert len(rooms) <= HOUSE_MAX


def test_what_the_maps_call_pure_is_held_to_it() -> None:
    """A room that is F0 on its package's map stands in the contract of the pure floor."""
    told = {
        ".".join([*package.relative_to(HOUSE.parent).parts, room])
        for package in PACKAGES
        for room in _PURE.findall(ast.get_docstring(_tree(package / "__init__.py")) or "")
    }
    contracts = tomllib.loads((HOUSE.parent / "pyproject.toml").read_text(encoding="utf8"))
    [held] = [
        set(contract["source_modules"])
        for contract in contracts["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("the pure floor")
    ]
    assert told == held


def test_one_word_is_one_class() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for room in ROOMS:
        for node in _tree(room).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(room.relative_to(HOUSE)))
    assert not {name: rooms for name, rooms in homes.items() if len(rooms) > 1}


def test_no_event_is_a_bare_text() -> None:
    names = {event.value for event in Event}
    bare = [
        f"{room.relative_to(HOUSE)}:{node.lineno}"
        for room in ROOMS
        for node in ast.walk(_tree(room))
        for text in _told_events(node)
        if isinstance(text, ast.Constant) and text.value in names
    ]
    assert not bare


def _told_events(node: ast.AST) -> list[ast.expr | None]:
    """What a piece of code writes as a record's event, or holds against one."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "event"]
    if isinstance(node, ast.Compare) and "event" in ast.unparse(node):
        sides = [node.left, *node.comparators]
        return [each for side in sides for each in (side, *getattr(side, "elts", ()))]
    return []
