"""A server for all tests of a worker, and a database for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.team import Gather, Team
from tests.postgres import Base, new_base, session_server
from tests.process import Cli, Cloud


@pytest.fixture
def base() -> Base:
    return new_base(session_server())


@pytest.fixture
def gather(cli: Cli) -> Iterator[Gather]:
    """Makes a team, which is let go at the end."""
    teams: list[Team] = []

    def make(base: Base, cloud: Cloud, ledger: str = "nightly") -> Team:
        teams.append(Team(cli, base, cloud, ledger))
        return teams[-1]

    yield make
    for team in teams:
        team.end()
