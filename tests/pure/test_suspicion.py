"""Suspicion: one row or its whole scope, decided from keys and numbers; by table and at random."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.suspicion import HEADS_MAX, PROBES, Move, Next, Suspicion

STAY = Move(Next.NOTHING)


class Script:
    """A scope whose rows are started in order; `r7` is the seventh."""

    def __init__(self, *, heads: bool = False) -> None:
        self.scope = Suspicion(heads=heads)
        self.count = 0

    def start(self, rows: int = 1) -> list[tuple[str, int]]:
        """Rows that are sent now, with the numbers of their starts."""
        first, self.count = self.count + 1, self.count + rows
        started = [(f"r{number}", number) for number in range(first, self.count + 1)]
        for key, _ in started:
            self.scope.started(key)
        return started

    def suspects(self, rows: int, *, unseen: bool = False) -> list[Move]:
        return [self.scope.suspect(*row, unseen=unseen) for row in self.start(rows)]

    def accepts(self) -> Move:
        [row] = self.start()
        return self.scope.accepted(*row)


def keys(*numbers: int) -> tuple[str, ...]:
    return tuple(f"r{number}" for number in numbers)


def test_fewer_than_five_are_tried_again_after_another_row_was_accepted() -> None:
    script = Script()
    assert script.suspects(4) == [STAY] * 4
    assert script.accepts() == Move(Next.AGAIN, keys(1, 2, 3, 4))
    assert script.suspects(4) == [STAY] * 4
    assert not script.scope.resting


def test_five_with_nothing_accepted_between_make_the_scope_rest() -> None:
    script = Script()
    assert script.suspects(5)[-1] == Move(Next.PROBE)
    assert script.scope.resting


@pytest.mark.parametrize("denied", range(PROBES))
def test_one_probe_that_is_accepted_refuses_them_all(denied: int) -> None:
    script = Script()
    script.suspects(5)
    assert script.suspects(denied) == [STAY] * denied
    assert script.accepts() == Move(Next.REFUSE, keys(*range(1, 6 + denied)))
    assert not script.scope.resting


def test_three_probes_in_vain_halt() -> None:
    script = Script()
    script.suspects(5)
    assert script.suspects(3)[-1] == Move(Next.HALT, keys(*range(1, 9)))


def test_no_more_than_three_probes_are_out_and_one_that_tells_nothing_is_replaced() -> None:
    script = Script()
    script.suspects(5)
    probes = script.start(PROBES)
    assert not script.scope.wants_probe
    script.scope.nothing(probes[0][0])
    assert script.scope.wants_probe
    script.scope.suspect(*probes[1], unseen=False)
    script.start()
    assert not script.scope.wants_probe


def test_a_reply_to_a_call_that_left_earlier_clears_nobody() -> None:
    """A policy was revoked: what was accepted before says nothing of what is denied after."""
    script = Script()
    early = script.start(20)
    script.suspects(5)
    for row in early:
        assert script.scope.accepted(*row) == STAY
    assert script.scope.resting
    assert script.suspects(3)[-1].next is Next.HALT


def test_a_reply_to_a_call_that_left_later_clears_also_while_the_scope_rests() -> None:
    script = Script()
    denied, later = script.start(6), script.start(2)
    for row in denied:
        script.scope.suspect(*row, unseen=False)
    assert script.scope.resting
    assert script.scope.accepted(*later[0]) == Move(Next.AGAIN, keys(1, 2, 3, 4, 5, 6))
    assert not script.scope.resting


def test_a_suspect_that_is_heard_late_is_cleared_at_once() -> None:
    script = Script()
    [late], [soon] = script.start(), script.start()
    script.scope.accepted(*soon)
    assert script.scope.suspect(*late, unseen=False) == Move(Next.AGAIN, ("r1",))


@pytest.mark.parametrize(
    ("accepted", "suspects", "expected"),
    [(True, 1, Next.AGAIN), (True, 4, Next.AGAIN), (True, 6, Next.HALT), (False, 1, Next.HALT)],
)
def test_where_nothing_else_is_left(accepted: bool, suspects: int, expected: Next) -> None:
    script = Script()
    if accepted:
        script.accepts()
    script.suspects(suspects)
    move = script.scope.ended()
    assert (move.next, len(move.keys)) == (expected, suspects)
    assert script.scope.ended() == STAY


def test_first_rows_that_are_not_found_are_looked_at() -> None:
    for seen, expected in ((True, Next.REFUSE), (False, Next.HALT)):
        script = Script(heads=True)
        moves = script.suspects(HEADS_MAX, unseen=True)
        assert moves == [STAY] * (HEADS_MAX - 1) + [Move(Next.LOOK)]
        assert not script.scope.wants_probe
        move = script.scope.looked(seen)
        assert (move.next, len(move.keys)) == (expected, HEADS_MAX)
        assert script.scope.well is seen
        assert script.scope.looked(seen) == STAY


def test_first_rows_are_probed_where_nobody_can_look() -> None:
    script = Script(heads=True)
    script.suspects(HEADS_MAX, unseen=True)
    assert script.scope.looked(None) == Move(Next.PROBE)
    assert script.scope.wants_probe


def test_first_rows_are_probed_where_the_code_is_of_another_kind() -> None:
    script = Script(heads=True)
    script.suspects(1, unseen=True)
    assert script.suspects(HEADS_MAX - 1)[-1] == Move(Next.PROBE)
    assert script.suspects(PROBES)[-1].next is Next.HALT


def test_first_rows_are_refused_by_any_sign_that_the_region_is_well() -> None:
    script = Script(heads=True)
    script.suspects(3, unseen=True)
    assert script.accepts() == Move(Next.REFUSE, keys(1, 2, 3))


def test_first_rows_are_refused_where_there_are_no_others() -> None:
    script = Script(heads=True)
    script.suspects(3, unseen=True)
    assert script.scope.ended() == Move(Next.REFUSE, keys(1, 2, 3))


events = st.lists(st.tuples(st.sampled_from(["start", "ok", "no", "else"]), st.integers(0, 9)))


@given(events=events, heads=st.booleans(), looks=st.sampled_from([True, None]))
def test_every_suspect_has_one_fate_and_one_row_stops_nobody(
    events: list[tuple[str, int]], heads: bool, looks: bool | None
) -> None:
    """Calls come back in any order, with any answer."""
    script = Script(heads=heads)
    scope, out = script.scope, list[tuple[str, int]]()
    waiting: dict[str, int] = {}
    accepted: list[int] = []
    for event, which in events:
        if event == "start" or not out:
            if not scope.resting or scope.wants_probe:
                out += script.start()
            continue
        row = out.pop(which % len(out))
        move = STAY
        if event == "ok":
            accepted.append(row[1])
            move = scope.accepted(*row)
        elif event == "no":
            waiting[row[0]] = row[1]
            move = scope.suspect(*row, unseen=which % 2 == 0)
        else:
            scope.nothing(row[0])
        if move.next is Next.LOOK:
            move = scope.looked(looks)
        if move.next is Next.HALT:
            assert len(move.keys) >= scope.limit + PROBES
            assert not any(number > min(waiting.values()) for number in accepted) or heads
        if move.next in {Next.AGAIN, Next.REFUSE} and looks is not True:
            assert any(waiting[key] < number for key in move.keys for number in accepted)
        for key in move.keys:
            del waiting[key]
        assert scope.resting or len(waiting) < scope.limit
    last = scope.ended()
    assert set(last.keys) == set(waiting)
