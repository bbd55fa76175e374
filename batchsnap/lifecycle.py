"""THE TABLE: the life of one row, as data. Run, resume, status and report all go through it.

A row moves only by a ledger record. A record's *move* is its event, except that `settled` is
four: `found` (the snapshot exists), `absent` (it surely does not) and, of a row that was settled
absent and sent again, the last question once the signature is dead: `asked`, or `unseen` where the
disk of a row that is not done could not be seen, so that its silence proves nothing.

What the table guards, by having no entry for it:
- IN_DOUBT has no `intent`: nothing is sent for a row in doubt before it is settled.
- SENT has no `intent`: one attempt at a time.
- ACCEPTED, READY and DELETED have no `intent`: one row, one snapshot, also after a rollback.
- SKIPPED has no `intent`: a row whose disk has a young snapshot is at rest for this run.

Where a row can go (`pending` is where it begins), and by which move where that has another name
than the state it leads to:

    pending   ─▶ sent (intent), in_doubt, deferred, rejected, gave_up (gave_up, unseen), skipped
              stays by halted, asked
    sent      ─▶ accepted, deferred, in_doubt, rejected, gave_up, pending (unsent, halted)
    deferred  ─▶ sent (intent), in_doubt, rejected, gave_up (gave_up, unseen), skipped
              stays by deferred, halted, asked
    in_doubt  ─▶ accepted, absent
              stays by in_doubt, found, doubled, halted
    absent    ─▶ sent (intent), deferred, in_doubt, rejected, gave_up (gave_up, unseen)
              stays by halted, asked
    accepted  ─▶ ready, vanished, deleting
              stays by doubled, asked, halted
    ready     ─▶ vanished, deleting
              stays by doubled, asked, halted
    rejected  ─▶ sent (intent), deferred, in_doubt, skipped
              stays by rejected, asked, unseen, halted
    gave_up   ─▶ sent (intent), deferred, in_doubt, rejected, skipped
              stays by gave_up, asked, unseen, halted
    vanished  ─▶ ready, deleting
              stays by doubled, asked, halted
    deleting  ─▶ accepted (deferred), deleted
              stays by deleting, asked, doubled
    deleted   is the end
              stays by asked, doubled
    skipped   is the end
              stays by halted

So a usual life is intent, accepted, ready. One whose reply is lost is intent, in_doubt, then found
and accepted, or absent and intent once more; that one owes its last question, `asked`. What stays
where it is has still been told: a halt, a question, a second refusal.

Beside the state a row carries two marks of its past. `doubted`: it was in doubt, and no last
question has been answered since; it is settled again before it is called rejected or given up, and
keeps what its intent recorded. `owed`: it was settled absent and sent again, and one more question
is due before the run may finish.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from batchsnap.errors import IllegalMove


class State(StrEnum):
    PENDING = "pending"  # nothing was sent, or surely nothing was executed
    SENT = "sent"  # an intent is durable, no outcome yet
    DEFERRED = "deferred"  # not executed; to be sent again
    IN_DOUBT = "in_doubt"  # may have been executed
    ABSENT = "absent"  # was in doubt, the cloud has no such snapshot; to be sent again
    ACCEPTED = "accepted"  # the cloud took the order
    READY = "ready"  # NORMAL, 100 %
    REJECTED = "rejected"  # this row will never work
    GAVE_UP = "gave_up"  # --retry-for was spent
    VANISHED = "vanished"  # was accepted, and is gone
    DELETING = "deleting"  # a rollback may have deleted it
    DELETED = "deleted"  # a rollback deleted it
    SKIPPED = "skipped"  # its disk had a snapshot that is young enough; none was made


class Standing(NamedTuple):
    """Where a row stands: its state and the marks of its past."""

    state: State
    doubted: bool
    owed: bool


NEW = Standing(State.PENDING, doubted=False, owed=False)

_S = State
TABLE: dict[State, dict[str, State]] = {
    _S.PENDING: {
        "intent": _S.SENT,
        "in_doubt": _S.IN_DOUBT,  # a lost record may have been its intent
        "deferred": _S.DEFERRED,
        "rejected": _S.REJECTED,
        "gave_up": _S.GAVE_UP,
        "halted": _S.PENDING,
        "skipped": _S.SKIPPED,
        "asked": _S.PENDING,
        "unseen": _S.GAVE_UP,
    },
    _S.SENT: {
        "accepted": _S.ACCEPTED,
        "deferred": _S.DEFERRED,
        "in_doubt": _S.IN_DOUBT,
        "rejected": _S.REJECTED,
        "gave_up": _S.GAVE_UP,
        "unsent": _S.PENDING,
        "halted": _S.PENDING,
    },
    _S.DEFERRED: {
        "intent": _S.SENT,
        "deferred": _S.DEFERRED,
        "in_doubt": _S.IN_DOUBT,
        "rejected": _S.REJECTED,
        "gave_up": _S.GAVE_UP,
        "halted": _S.DEFERRED,
        "skipped": _S.SKIPPED,
        "asked": _S.DEFERRED,
        "unseen": _S.GAVE_UP,
    },
    _S.IN_DOUBT: {
        "in_doubt": _S.IN_DOUBT,
        "found": _S.IN_DOUBT,  # the `accepted` that follows ends the doubt
        "accepted": _S.ACCEPTED,
        "absent": _S.ABSENT,
        "doubled": _S.IN_DOUBT,
        "halted": _S.IN_DOUBT,  # its refusal, itself to be settled, was the one too many
    },
    _S.ABSENT: {
        "intent": _S.SENT,
        "deferred": _S.DEFERRED,
        "in_doubt": _S.IN_DOUBT,
        "rejected": _S.REJECTED,
        "gave_up": _S.GAVE_UP,
        "halted": _S.ABSENT,
        "asked": _S.ABSENT,
        "unseen": _S.GAVE_UP,
    },
    _S.ACCEPTED: {
        "ready": _S.READY,
        "vanished": _S.VANISHED,
        "doubled": _S.ACCEPTED,
        "asked": _S.ACCEPTED,
        "deleting": _S.DELETING,
        "halted": _S.ACCEPTED,
    },
    _S.READY: {
        "vanished": _S.VANISHED,
        "doubled": _S.READY,
        "asked": _S.READY,
        "deleting": _S.DELETING,
        "halted": _S.READY,
    },
    _S.REJECTED: {
        "intent": _S.SENT,
        "deferred": _S.DEFERRED,
        "in_doubt": _S.IN_DOUBT,
        "rejected": _S.REJECTED,
        "skipped": _S.SKIPPED,
        "asked": _S.REJECTED,
        "unseen": _S.REJECTED,
        "halted": _S.REJECTED,
    },
    _S.GAVE_UP: {
        "intent": _S.SENT,
        "deferred": _S.DEFERRED,
        "in_doubt": _S.IN_DOUBT,
        "rejected": _S.REJECTED,
        "gave_up": _S.GAVE_UP,
        "skipped": _S.SKIPPED,
        "asked": _S.GAVE_UP,
        "unseen": _S.GAVE_UP,
        "halted": _S.GAVE_UP,
    },
    _S.VANISHED: {
        "ready": _S.READY,
        "deleting": _S.DELETING,  # it is there after all
        "doubled": _S.VANISHED,
        "asked": _S.VANISHED,
        "halted": _S.VANISHED,
    },
    _S.DELETING: {
        "deleting": _S.DELETING,
        "deferred": _S.ACCEPTED,  # the cloud surely did not delete it
        "deleted": _S.DELETED,
        "asked": _S.DELETING,
        "doubled": _S.DELETING,
    },
    _S.DELETED: {
        "asked": _S.DELETED,
        "doubled": _S.DELETED,
    },
    _S.SKIPPED: {
        "halted": _S.SKIPPED,
    },
}

MOVES = frozenset({*(move for moves in TABLE.values() for move in moves), "settled"})
"""What happens to a row; `settled` is the event of three moves."""

DONE = frozenset({_S.ACCEPTED, _S.READY, _S.VANISHED, _S.DELETING, _S.DELETED, _S.SKIPPED})
"""States in which a run has nothing left to do for the row."""

MADE = DONE - {_S.SKIPPED}
"""States of rows whose snapshot this run made, whatever became of it since."""

HAS_SNAPSHOT = frozenset({_S.ACCEPTED, _S.READY, _S.DELETED, _S.SKIPPED})
"""States in which an older refusal is no news: the row has, or had, what was asked for."""

UNCERTAIN = frozenset({_S.SENT, _S.IN_DOUBT})
"""States in which the cloud may have executed what the ledger does not know."""

ENDED = frozenset({_S.REJECTED, _S.GAVE_UP})
"""States of rows that failed; another run may take them up."""

WORD: dict[State, str] = {
    **{state: state.value for state in State},
    _S.SENT: "in_doubt",
    _S.ABSENT: "pending",
    _S.DELETING: "in_doubt",
}
"""The word under which each state is counted for people and scripts."""

FAILED_WORDS = frozenset({"rejected", "gave_up", "vanished"})
"""Words, and events, of rows that have no snapshot and will get none by themselves."""


def step(standing: Standing, move: str) -> Standing:
    """The row's next standing.

    Raises:
        IllegalMove: the table has no such move; nothing has changed.
    """
    state = TABLE[standing.state].get(move)
    if state is None:
        raise IllegalMove(f"a row that is {standing.state} cannot take {move!r}")
    doubted = (standing.doubted or move == "in_doubt") and move != "asked"
    owed = (standing.owed or (move == "intent" and doubted)) and move not in {"asked", "unseen"}
    return Standing(state, doubted, owed)


def binds(standing: Standing) -> bool:
    """Whether the row's latest intent still holds it to its name, baseline, region and profile,
    because what was sent under that may yet turn up."""
    return standing.doubted or standing.state is State.SENT
