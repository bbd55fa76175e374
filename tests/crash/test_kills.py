"""Kills at random moments under a hostile cloud: the promise, as databases are proved."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.hammer import hammer, well
from tests.process import Cli


@pytest.mark.slow
def test_some_kills(cli: Cli, tmp_path: Path) -> None:
    found = hammer(cli, tmp_path, rows=60, kills=7, seed=random.randrange(10**6))

    print(found)
    assert found["left_open"] > 0, found
    assert well(found), found


@pytest.mark.long
def test_two_hundred_kills(tmp_path: Path) -> None:
    seed, killed = random.randrange(10**6), 0
    while killed < 200:
        (folder := tmp_path / str(seed)).mkdir()
        found = hammer(Cli(folder), folder, rows=300, kills=25, seed=seed)

        print(found)
        assert well(found), found
        killed += found["killed"]
        seed += 1
