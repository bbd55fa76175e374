"""The bounds of one quota: calls that are out, rows on their way to a token."""

from __future__ import annotations

from batchsnap.engine.limits import Slots
from batchsnap.settings import Settings


class Rows:
    """As many rows as there are slots for."""

    def __init__(self, **options: float) -> None:
        self.slots = Slots(Settings(**options))  # type: ignore[arg-type]
        self.out = self.staged = 0

    @property
    def room(self) -> bool:
        return not self.slots.full(self.out)

    def take(self) -> int:
        """Rows taken until there is no more room."""
        count = 0
        while self.room:
            self.out += 1
            self.staged += 1
            self.slots.take(self.staged)
            count += 1
        return count

    def start(self) -> bool:
        """One has its token; whether another may be taken."""
        self.staged -= 1
        self.slots.started(self.staged)
        return self.room

    def leave(self) -> None:
        self.out -= 1


def test_half_a_second_of_rows_is_staged_and_half_of_that_at_a_time() -> None:
    rows = Rows(rate_per_s=20.0)

    assert rows.take() == 10
    assert [rows.start() for _ in range(5)] == [False, False, False, False, True]
    assert rows.take() == 5


def test_a_slow_rate_stages_one() -> None:
    rows = Rows(rate_per_s=0.1)

    assert rows.take() == 1
    assert rows.start()
    assert rows.take() == 1


def test_calls_out_are_bounded() -> None:
    rows = Rows(rate_per_s=20.0, max_in_flight=12)
    for _ in range(rows.take()):
        rows.start()

    assert rows.take() == 2
    rows.start()
    rows.leave()
    assert rows.take() == 1
    assert rows.out == 12
