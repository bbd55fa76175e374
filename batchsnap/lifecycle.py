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


class Event(StrEnum):
    """What a ledger record tells, first of its row. What is read may be a later version's, and
    then is none of these; one that is read is a plain text, equal to its member."""

    INTENT = "intent"  # a call is about to leave
    UNSENT = "unsent"  # it surely did not
    ACCEPTED = "accepted"  # the cloud took the order
    DEFERRED = "deferred"  # not executed; to be sent again
    IN_DOUBT = "in_doubt"  # it may have been executed
    SETTLED = "settled"  # the cloud was asked what became of it: see `Finding`
    DOUBLED = "doubled"  # the cloud has two for it
    REJECTED = "rejected"  # it will never work
    GAVE_UP = "gave_up"  # its time was spent
    HALTED = "halted"  # its scope was stopped at this row
    SKIPPED = "skipped"  # its disk has a snapshot that is young enough
    READY = "ready"  # its snapshot is whole
    VANISHED = "vanished"  # its snapshot is gone
    DELETING = "deleting"  # its snapshot is about to be deleted
    DELETED = "deleted"  # its snapshot was deleted by us
    # of the whole run
    RUN = "run"  # its birth
    RESUMED = "resumed"  # another process goes on
    FINISHED = "finished"  # its end
    # of one process; none of them moves anything, so readers may pass over them
    STOPPED = "stopped"  # it ended before the run did
    CLAIMED = "claimed"  # it begins to work on a quota that has owners
    RELEASED = "released"  # it ends that work


RUN_EVENTS = frozenset({Event.RUN, Event.RESUMED, Event.FINISHED})
LIVES = frozenset({Event.CLAIMED, Event.RELEASED})
"""Of a ledger whose quotas have owners."""


class Finding(StrEnum):
    """What a `settled` record tells of its row: the moves that its event stands for."""

    FOUND = "found"  # the snapshot exists
    ABSENT = "absent"  # it surely does not
    ASKED = "asked"  # the last question was answered
    UNSEEN = "unseen"  # the last question proved nothing


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

_S, _E, _F = State, Event, Finding
TABLE: dict[State, dict[str, State]] = {
    _S.PENDING: {
        _E.INTENT: _S.SENT,
        _E.IN_DOUBT: _S.IN_DOUBT,  # a lost record may have been its intent
        _E.DEFERRED: _S.DEFERRED,
        _E.REJECTED: _S.REJECTED,
        _E.GAVE_UP: _S.GAVE_UP,
        _E.HALTED: _S.PENDING,
        _E.SKIPPED: _S.SKIPPED,
        _F.ASKED: _S.PENDING,
        _F.UNSEEN: _S.GAVE_UP,
    },
    _S.SENT: {
        _E.ACCEPTED: _S.ACCEPTED,
        _E.DEFERRED: _S.DEFERRED,
        _E.IN_DOUBT: _S.IN_DOUBT,
        _E.REJECTED: _S.REJECTED,
        _E.GAVE_UP: _S.GAVE_UP,
        _E.UNSENT: _S.PENDING,
        _E.HALTED: _S.PENDING,
    },
    _S.DEFERRED: {
        _E.INTENT: _S.SENT,
        _E.DEFERRED: _S.DEFERRED,
        _E.IN_DOUBT: _S.IN_DOUBT,
        _E.REJECTED: _S.REJECTED,
        _E.GAVE_UP: _S.GAVE_UP,
        _E.HALTED: _S.DEFERRED,
        _E.SKIPPED: _S.SKIPPED,
        _F.ASKED: _S.DEFERRED,
        _F.UNSEEN: _S.GAVE_UP,
    },
    _S.IN_DOUBT: {
        _E.IN_DOUBT: _S.IN_DOUBT,
        _F.FOUND: _S.IN_DOUBT,  # the `accepted` that follows ends the doubt
        _E.ACCEPTED: _S.ACCEPTED,
        _F.ABSENT: _S.ABSENT,
        _E.DOUBLED: _S.IN_DOUBT,
        _E.HALTED: _S.IN_DOUBT,  # its refusal, itself to be settled, was the one too many
    },
    _S.ABSENT: {
        _E.INTENT: _S.SENT,
        _E.DEFERRED: _S.DEFERRED,
        _E.IN_DOUBT: _S.IN_DOUBT,
        _E.REJECTED: _S.REJECTED,
        _E.GAVE_UP: _S.GAVE_UP,
        _E.HALTED: _S.ABSENT,
        _F.ASKED: _S.ABSENT,
        _F.UNSEEN: _S.GAVE_UP,
    },
    _S.ACCEPTED: {
        _E.READY: _S.READY,
        _E.VANISHED: _S.VANISHED,
        _E.DOUBLED: _S.ACCEPTED,
        _F.ASKED: _S.ACCEPTED,
        _E.DELETING: _S.DELETING,
        _E.HALTED: _S.ACCEPTED,
    },
    _S.READY: {
        _E.VANISHED: _S.VANISHED,
        _E.DOUBLED: _S.READY,
        _F.ASKED: _S.READY,
        _E.DELETING: _S.DELETING,
        _E.HALTED: _S.READY,
    },
    _S.REJECTED: {
        _E.INTENT: _S.SENT,
        _E.DEFERRED: _S.DEFERRED,
        _E.IN_DOUBT: _S.IN_DOUBT,
        _E.REJECTED: _S.REJECTED,
        _E.SKIPPED: _S.SKIPPED,
        _F.ASKED: _S.REJECTED,
        _F.UNSEEN: _S.REJECTED,
        _E.HALTED: _S.REJECTED,
    },
    _S.GAVE_UP: {
        _E.INTENT: _S.SENT,
        _E.DEFERRED: _S.DEFERRED,
        _E.IN_DOUBT: _S.IN_DOUBT,
        _E.REJECTED: _S.REJECTED,
        _E.GAVE_UP: _S.GAVE_UP,
        _E.SKIPPED: _S.SKIPPED,
        _F.ASKED: _S.GAVE_UP,
        _F.UNSEEN: _S.GAVE_UP,
        _E.HALTED: _S.GAVE_UP,
    },
    _S.VANISHED: {
        _E.READY: _S.READY,
        _E.DELETING: _S.DELETING,  # it is there after all
        _E.DOUBLED: _S.VANISHED,
        _F.ASKED: _S.VANISHED,
        _E.HALTED: _S.VANISHED,
    },
    _S.DELETING: {
        _E.DELETING: _S.DELETING,
        _E.DEFERRED: _S.ACCEPTED,  # the cloud surely did not delete it
        _E.DELETED: _S.DELETED,
        _F.ASKED: _S.DELETING,
        _E.DOUBLED: _S.DELETING,
    },
    _S.DELETED: {
        _F.ASKED: _S.DELETED,
        _E.DOUBLED: _S.DELETED,
    },
    _S.SKIPPED: {
        _E.HALTED: _S.SKIPPED,
    },
}

MOVES = frozenset({*(move for moves in TABLE.values() for move in moves), _E.SETTLED})
"""What happens to a row; `settled` is the event of four moves."""

DONE = frozenset({_S.ACCEPTED, _S.READY, _S.VANISHED, _S.DELETING, _S.DELETED, _S.SKIPPED})
"""States in which a run has nothing left to do for the row."""

MADE = DONE - {_S.SKIPPED}
"""States of rows whose snapshot this run made, whatever became of it since."""

THERE = frozenset({_S.ACCEPTED, _S.READY})
"""States of rows whose snapshot, made by this run, is there for all that is known."""

DELETABLE = THERE | {_S.VANISHED, _S.DELETING}
"""States of rows whose snapshot may be there: `vanished` may have been said too early."""

HAS_SNAPSHOT = THERE | {_S.DELETED, _S.SKIPPED}
"""States in which an older refusal is no news: the row has, or had, what was asked for."""

UNCERTAIN = frozenset({_S.SENT, _S.IN_DOUBT})
"""States in which the cloud may have executed what the ledger does not know."""

ENDED = frozenset({_S.REJECTED, _S.GAVE_UP})
"""States of rows that failed; another run may take them up."""

OVER = DONE | ENDED
"""States in which this run sends nothing more for the row."""

WORD: dict[State, str] = {
    **{state: state.value for state in State},
    _S.SENT: _S.IN_DOUBT,
    _S.ABSENT: _S.PENDING,
    _S.DELETING: _S.IN_DOUBT,
}
"""The word under which each state is counted for people and scripts."""

FAILED_WORDS = frozenset({_E.REJECTED, _E.GAVE_UP, _E.VANISHED})
"""Words, and events, of rows that have no snapshot and will get none by themselves."""


def step(standing: Standing, move: str) -> Standing:
    """The row's next standing.

    Raises:
        IllegalMove: the table has no such move; nothing has changed.
    """
    state = TABLE[standing.state].get(move)
    if state is None:
        raise IllegalMove(f"a row that is {standing.state} cannot take '{move}'")
    doubted = (standing.doubted or move == _E.IN_DOUBT) and move != _F.ASKED
    owed = (standing.owed or (move == _E.INTENT and doubted)) and move not in {_F.ASKED, _F.UNSEEN}
    return Standing(state, doubted, owed)


def binds(standing: Standing) -> bool:
    """Whether the row's latest intent still holds it to its name, baseline, region and profile,
    because what was sent under that may yet turn up."""
    return standing.doubted or standing.state is State.SENT
