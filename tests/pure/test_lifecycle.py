"""The table: what it must never allow, and that every state and word is of use."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap import lifecycle
from batchsnap.errors import IllegalMove
from batchsnap.lifecycle import DONE, ENDED, NEW, TABLE, WORD, Standing, State, binds, step
from batchsnap.report.summary import Summary

MOVES = sorted({move for moves in TABLE.values() for move in moves})


def legal(numbers: list[int]) -> list[str]:
    """A walk of legal moves alone: one of all moves seldom comes far."""
    standing, moves = NEW, []
    for number in numbers:
        allowed = sorted(TABLE[standing.state])
        moves.append(allowed[number % len(allowed)])
        standing = step(standing, moves[-1])
    return moves


_WALKS = st.lists(st.sampled_from(MOVES), max_size=80) | st.lists(
    st.integers(0, 999), max_size=80
).map(legal)
_NEVER_SENT_FROM = {
    State.IN_DOUBT,
    State.SENT,
    State.ACCEPTED,
    State.READY,
    State.DELETED,
    State.DELETING,
    State.VANISHED,
    State.SKIPPED,
}


def walk(moves: list[str]) -> list[tuple[Standing, str, Standing]]:
    """The legal steps of a random walk; an illegal one stays where it was."""
    standing, steps = NEW, []
    for move in moves:
        try:
            after = step(standing, move)
        except IllegalMove:
            assert move not in TABLE[standing.state]
            continue
        steps.append((standing, move, after))
        standing = after
    return steps


@pytest.mark.parametrize("state", list(State))
def test_only_a_row_that_surely_has_no_snapshot_is_sent(state: State) -> None:
    if state not in _NEVER_SENT_FROM:
        assert step(Standing(state, doubted=False, owed=False), "intent").state is State.SENT
        return
    for doubted in (False, True):
        with pytest.raises(IllegalMove, match=f"{state} cannot take 'intent'"):
            step(Standing(state, doubted=doubted, owed=False), "intent")


@given(_WALKS)
def test_doubt_is_forgotten_only_when_the_last_question_is_answered(moves: list[str]) -> None:
    for before, move, after in walk(moves):
        assert after.doubted == ((before.doubted or move == "in_doubt") and move != "asked")


@given(_WALKS)
def test_a_row_keeps_what_was_sent_while_anything_of_it_may_turn_up(moves: list[str]) -> None:
    out = False  # what was sent, and may have been executed
    for _, move, after in walk(moves):
        out = (out or move in {"intent", "in_doubt"}) and move not in {"asked", "unsent"}
        answered = move in {"deferred", "rejected", "gave_up", "halted"}  # and not executed
        if answered and not after.doubted:
            out = False
        if after.state not in DONE and move != "halted":
            assert binds(after) == (out or after.doubted)


@given(_WALKS)
def test_a_question_about_a_disk_that_is_not_seen_leaves_the_row_to_be_asked_about(
    moves: list[str],
) -> None:
    for before, move, after in walk(moves):
        if move == "unseen" and before.doubted:
            assert after.state in ENDED
            assert (after.doubted, after.owed, binds(after)) == (True, False, True)


@given(_WALKS)
def test_a_question_is_owed_from_the_resend_after_absence_until_it_is_asked(
    moves: list[str],
) -> None:
    absent = owed = False
    for _, move, after in walk(moves):
        absent = (absent or move == "absent") and move != "asked"
        owed = (owed or (move == "intent" and absent)) and move not in {"asked", "unseen"}
        assert after.owed == owed


@given(_WALKS)
def test_a_doubt_ends_only_by_an_answer(moves: list[str]) -> None:
    for before, move, after in walk(moves):
        if before.state is State.IN_DOUBT and after.state is not State.IN_DOUBT:
            assert move in {"accepted", "absent"}
        if before.state is State.SENT and after.state is not State.IN_DOUBT:
            assert move in {"accepted", "deferred", "rejected", "gave_up", "unsent", "halted"}


@given(_WALKS)
def test_a_row_that_is_done_never_becomes_one_to_be_sent(moves: list[str]) -> None:
    done = False
    for _, _, after in walk(moves):
        done = done or after.state in DONE
        assert not done or after.state in DONE


def test_every_state_can_be_reached_and_every_move_leads_to_a_state_of_the_table() -> None:
    seen, new = {NEW}, {NEW}
    while new:
        new = {step(s, move) for s in new for move in TABLE[s.state]} - seen
        seen |= new
    assert {standing.state for standing in seen} == set(State) == set(TABLE)


def test_each_state_is_counted_under_a_word_of_the_summary() -> None:
    assert set(WORD) == set(State)
    assert set(WORD.values()) < {field.name for field in fields(Summary)}


@pytest.mark.parametrize("move", ["settled", "run", "resumed", "finished", "", "INTENT"])
def test_what_is_no_move_is_illegal_everywhere(move: str) -> None:
    for state in State:
        with pytest.raises(IllegalMove):
            step(Standing(state, doubted=False, owed=False), move)


def diagram() -> str:
    """Where a row can go from each state, as the docstring shows it."""
    lines: list[str] = []
    for state, moves in TABLE.items():
        by_target: dict[State, list[str]] = {}
        for move, target in moves.items():
            by_target.setdefault(target, []).append(move)
        stays = by_target.pop(state, [])
        ways = [
            to.value if by == [to.value] else f"{to.value} ({', '.join(by)})"
            for to, by in by_target.items()
        ]
        lines.append(f"    {state.value:<9} " + (f"─▶ {', '.join(ways)}" if ways else "is the end"))
        if stays:
            lines.append(f"              stays by {', '.join(stays)}")
    return "\n".join(lines)


def test_the_diagram_is_the_table() -> None:
    drawn = lifecycle.__doc__ or ""
    assert diagram() in drawn, diagram()
    assert drawn.count("─▶") == diagram().count("─▶")
