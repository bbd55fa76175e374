"""A server for all tests of a worker, and a database for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import Base, Server, new_base, shared_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with shared_server() as found:
        yield found


@pytest.fixture
def base(server: Server) -> Base:
    return new_base(server)
