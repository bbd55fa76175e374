"""The bounds of one quota: calls that are out, rows on their way to a token."""

from __future__ import annotations

from batchsnap.engine.slots import Slots
from batchsnap.settings import Settings


def taken(slots: Slots) -> int:
    """Rows taken until there is no more room."""
    count = 0
    while not slots.full:
        slots.take()
        count += 1
    return count


def test_half_a_second_of_rows_is_staged_and_half_of_that_at_a_time() -> None:
    slots = Slots(Settings(rate_per_s=20.0))

    assert taken(slots) == 10
    assert [slots.started() for _ in range(5)] == [False, False, False, False, True]
    assert taken(slots) == 5


def test_a_slow_rate_stages_one() -> None:
    slots = Slots(Settings(rate_per_s=0.1))

    assert taken(slots) == 1
    assert slots.started()
    assert taken(slots) == 1


def test_calls_out_are_bounded() -> None:
    slots = Slots(Settings(rate_per_s=20.0, max_in_flight=12))
    for _ in range(taken(slots)):
        slots.started()

    assert taken(slots) == 2
    slots.started()
    slots.leave()
    assert taken(slots) == 1
    assert slots.out == 12
