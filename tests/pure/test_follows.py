"""How long the signatures of whoever worked before may live."""

from __future__ import annotations

from typing import Any

import pytest

from batchsnap.client.connections import Connections
from batchsnap.settings import Settings


@pytest.mark.parametrize(
    ("url", "follows", "ahead_s"),
    [
        ("https://cbs.tencentcloudapi.com", True, 300.0),
        ("https://cbs.tencentcloudapi.com", False, 0.0),
        ("http://127.0.0.1:1", True, 0.0),  # of this machine: its clock is ours
    ],
)
def test_the_clock_of_another_machine_may_be_as_far_ahead_as_the_cloud_takes(
    url: str, follows: bool, ahead_s: float
) -> None:
    nobody: Any = None
    connections = Connections(nobody, nobody, Settings(), nobody, nobody, follows=follows)
    assert connections.account("", url).ahead_s == ahead_s
