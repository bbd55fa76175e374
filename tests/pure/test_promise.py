"""The first promise as a machine: the table, the fold and the rulings against a cloud that lags.

hypothesis plays the engine at its worst within the rules: it sends whatever row the table lets it
send, in any order, dies when it likes and keeps what a disk must have kept. The cloud executes
late, within a signature's life, and shows late. What must hold in every state: a row has no second
snapshot of which nothing is told and nothing will be asked, and none at all where the cloud held
nothing back for longer than a doubt is asked about.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batchsnap.cloud.faults import rule as ruling_of
from batchsnap.engine.attempt import details_of, event_of
from batchsnap.errors import Exit, IllegalMove
from batchsnap.ledger.record import encode, row_record, stamp
from batchsnap.ledger.replay import Fold, folded
from batchsnap.ledger.scan import Scan
from batchsnap.lifecycle import DONE, ENDED, TABLE, State
from batchsnap.model import Fault, FaultKind, PlannedRequest, Reply
from batchsnap.report.summary import exit_of, summary_of
from batchsnap.retry import Do, Tries, decide
from batchsnap.settings import SETTLE_SCHEDULE_S, SIGNATURE_DEAD_S, Waits

KEYS = [f"disk-{n:08x}" for n in range(12)]
first = st.integers(0, 1)  # which of the rows that a rule is for: they are done two by two
SURE_S = SETTLE_SCHEDULE_S[-1]  # what is held back no longer than this is found
DEAD_S = SIGNATURE_DEAD_S + SURE_S  # what is asked so late sees all that was sent
AT_REST = DONE | ENDED
# Codes of calls that the cloud surely did not carry out.
REFUSALS = (
    *("RequestLimitExceeded", "InvalidDisk.Busy", "InvalidDiskId.NotFound"),
    *("ResourceUnavailable.TooManyCreatingSnapshot", "AuthFailure.TokenFailure"),
)
# Replies and silences after which nobody knows.
UNSURE: tuple[Reply | Fault, ...] = (
    Fault(FaultKind.TIMEOUT, True, "", 1.0),
    Fault(FaultKind.RESET, True, "", 1.0),
    Fault(FaultKind.GARBLED, True, "", 1.0),
    Reply(502, b"<html>", None, 1.0),
    Reply(302, b"", None, 1.0),
    Reply(200, b"<html>", None, 1.0),
    Reply(200, b'{"Response":{"SnapshotId":null}}', None, 1.0),
    Reply(200, b'{"Response":{"Error":{"Code":"InternalError.X","Message":""}}}', None, 1.0),
    Reply(200, b'{"Response":{"Error":{"Code":"Nobody.Knows","Message":""}}}', None, 1.0),
)
HELD_S = (1.0, 4.0, 40.0, 250.0, SIGNATURE_DEAD_S - 0.1)


def refusal(code: str) -> Reply:
    return Reply(200, b'{"Response":{"Error":{"Code":"%b"}}}' % code.encode(), None, 1.0)


class Promise(RuleBasedStateMachine):
    """Some rows, one process after the other, one cloud."""

    @initialize(
        visible_after_s=st.sampled_from([0.0, 2.0, 20.0, 55.0]),
        creating_s=st.sampled_from([0.0, 45.0]),
    )
    def begin(self, visible_after_s: float, creating_s: float) -> None:
        self.now = 0.0
        self.visible_after_s = visible_after_s
        self.creating_s = creating_s  # meanwhile the cloud takes no second order for the disk
        self.made: dict[str, list[tuple[float, str]]] = defaultdict(list)
        self.held: list[tuple[float, str]] = []  # (arrives at, key)
        self.beyond: set[str] = set()  # rows whose call was held back for longer than we ask
        header = {"v": 1, "event": "run", "run_id": "r", "manifest": {}}
        self.lines = [encode({**header, "settings": {}, "at": stamp(0.0)})]  # type: ignore
        self.synced = 1
        self.live()

    # The process.

    def live(self) -> None:
        """A process opens the ledger, as the feeder does."""
        self.fold = Fold()
        scan = Scan(self.lines)
        whole = list(scan)
        for record in whole:
            self.fold.apply(record)
        self.lines = self.lines[: len(whole)]
        self.synced = len(self.lines)
        self.tries: dict[str, Tries] = defaultdict(Tries)
        self.doubt_since = dict.fromkeys(KEYS, self.now)
        self.given: dict[str, str] = {}
        self.out: dict[str, Reply | Fault] = {}  # replies on their way
        for key in KEYS:
            if self.state(key) is State.SENT:
                self.note("in_doubt", key)

    def state(self, key: str) -> State:
        return self.fold.standing(key).state

    def note(self, event: str, key: str, **details: Any) -> None:
        request = PlannedRequest(key, 1, key, "", "r", "", key, False, "", "", ())
        record = row_record(event, request, 1, stamp(self.now), **details)
        self.fold.apply(record)
        numbers = {"seq": len(self.lines), "synced": self.synced - 1}
        self.lines.append(encode({**numbers, **record}))  # type: ignore[typeddict-item]

    @rule(keep=st.floats(0, 1), torn=st.booleans())
    def die(self, keep: float, torn: bool) -> None:
        """What was synced is there, of the rest a part, its last line perhaps by half."""
        kept = self.synced + round(keep * (len(self.lines) - self.synced))
        rest = self.lines[kept : kept + 1]
        self.lines = self.lines[:kept] + [line[: len(line) // 2] for line in rest if torn]
        self.live()

    # The cloud.

    @rule(seconds=st.sampled_from([0.1, 5.0, 30.0, 60.0, 300.0]))
    def time_passes(self, seconds: float) -> None:
        self.until(self.now + seconds)

    def until(self, then: float) -> None:
        self.now = max(self.now, then)
        due = [call for call in self.held if call[0] <= self.now]
        self.held = [call for call in self.held if call[0] > self.now]
        for at, key in sorted(due):
            self.make(key, at)

    def make(self, key: str, at: float) -> str:
        snapshot_id = f"snap-{sum(map(len, self.made.values()))}"
        self.made[key].append((at, snapshot_id))
        return snapshot_id

    def seen(self, key: str) -> list[str]:
        return [i for at, i in self.made[key] if at + self.visible_after_s <= self.now]

    # Attempts.

    @rule(
        number=first,
        fate=st.sampled_from(["made", "executed", "executed", "not executed", "late", "late"]),
        unsure=st.sampled_from(UNSURE),
        held_s=st.sampled_from(HELD_S),
        at_once=st.sampled_from([True, True, False]),
    )
    def send(
        self, number: int, fate: str, unsure: Reply | Fault, held_s: float, at_once: bool
    ) -> None:
        """A call that may be executed; its outcome comes at once, later, or never."""
        if (key := self.intend(number)) is None:
            return
        outcome: Reply | Fault = unsure
        if self.made[key] and self.now - self.made[key][-1][0] < self.creating_s:
            outcome = refusal("InvalidDisk.SnapshotCreating")
        elif fate == "made":
            made = self.make(key, self.now).encode()
            outcome = Reply(200, b'{"Response":{"SnapshotId":"%b"}}' % made, None, 1.0)
        elif fate == "executed":
            self.make(key, self.now)
        elif fate == "late":
            self.held.append((self.now + held_s, key))
            if held_s + self.visible_after_s > SURE_S:
                self.beyond.add(key)
        self.out[key] = outcome
        if at_once:
            self.reply(key)

    @rule(number=first, code=st.sampled_from([*REFUSALS, "fault"]))
    def send_in_vain(self, number: int, code: str) -> None:
        """A call that is surely not executed, or was never made."""
        if (key := self.intend(number)) is None:
            return
        fault = Fault(FaultKind.CONNECT, False, "", 1.0)
        self.out[key] = fault if code == "fault" else refusal(code)
        self.reply(key)

    def intend(self, number: int) -> str | None:
        """The row whose intent is durable now, of those that the table lets us send."""
        free = [key for key in KEYS if "intent" in TABLE[self.state(key)]]
        if not free:
            return None
        key = free[min(number, len(free) - 1)]
        assert key not in self.out, "a second attempt beside one whose reply is out"
        self.note("intent", key, snapshot_name=key)
        self.synced = len(self.lines)
        self.now += 0.05
        return key

    @precondition(lambda self: self.out)
    @rule()
    def replies_come(self) -> None:
        for key in list(self.out):
            self.reply(key)

    def reply(self, key: str) -> None:
        """The outcome, classified, decided on and recorded as the engine does it."""
        doubted = self.fold.standing(key).doubted
        ruling = ruling_of(self.out.pop(key), doubted=doubted)
        decision = decide(
            ruling,
            self.tries[key],
            doubted=doubted,
            suspect=False,
            now=self.now,
            retry_for_s=1800.0,
            waits=Waits(),
            rand=0.5,
        )
        if ruling.snapshot_id:
            self.given[key] = ruling.snapshot_id
        event = event_of(ruling, decision)
        self.note(event, key, snapshot_id=ruling.snapshot_id, **details_of(ruling))
        if decision.do is Do.SETTLE:
            self.doubt_since[key] = self.now

    # Questions.

    @rule(number=first, stage=st.sampled_from([0, 1, -1, -1, -1]))
    def settle(self, number: int, stage: int) -> None:
        """A question about a doubt, when it is due; absence counts only at the last."""
        doubts = [key for key in KEYS if self.state(key) is State.IN_DOUBT]
        if not doubts:
            return
        key = doubts[min(number, len(doubts) - 1)]
        self.until(self.doubt_since[key] + SETTLE_SCHEDULE_S[stage])
        if ids := self.seen(key):
            self.found(key, ids)
        elif self.now - self.doubt_since[key] >= SETTLE_SCHEDULE_S[-1]:
            self.note("settled", key, found=False)

    def found(self, key: str, ids: list[str]) -> None:
        self.note("settled", key, found=True, snapshot_id=ids[0])
        self.note("accepted", key, snapshot_id=ids[0])
        self.given[key] = ids[0]
        if len(ids) > 1:
            self.note("doubled", key, snapshot_ids=ids)

    @rule()
    def ask_for_the_last_time(self) -> None:
        for key in KEYS:
            standing = self.fold.standing(key)
            if standing.owed and standing.state in AT_REST:
                self.until(self.doubt_since[key] + DEAD_S)
                self.last_answer(key, self.seen(key), made=standing.state in DONE)
                return

    def last_answer(self, key: str, ids: list[str], *, made: bool) -> None:
        if ids and self.given.get(key, ids[0]) not in ids:
            ids = [*ids, self.given[key]]
        if ids and not made:
            self.note("in_doubt", key)
            self.found(key, ids)
        elif len(ids) > 1:
            self.note("doubled", key, snapshot_ids=ids)
        self.note("settled", key, found=bool(ids), final=True)

    # What must hold.

    def told_doubled(self) -> set[str]:
        records = Scan(self.lines)
        return {record["key"] for record in records if record["event"] == "doubled"}

    @invariant()
    def no_second_snapshot_is_silent(self) -> None:
        told = self.told_doubled()
        for key in KEYS:
            twice = len(self.made[key]) > 1
            if twice and key not in self.beyond:
                raise AssertionError(f"{key} was made twice, and nothing was held back")
            if twice and key not in told:
                standing = self.fold.standing(key)
                assert standing.owed or standing.state in {State.SENT, State.IN_DOUBT}

    @invariant()
    def nothing_follows_a_doubt_or_an_end(self) -> None:
        for key in KEYS:
            if self.state(key) in DONE | {State.SENT, State.IN_DOUBT}:
                before = self.fold.standing(key)
                with pytest.raises(IllegalMove):
                    self.note("intent", key, snapshot_name=key)
                assert self.fold.standing(key) == before

    @invariant()
    def what_is_told_is_there(self) -> None:
        for record in Scan(self.lines):
            if record["event"] == "accepted":
                assert record["snapshot_id"] in [i for _, i in self.made[record["key"]]]

    @rule()
    def finish(self) -> None:
        """A run that calls itself done has one snapshot a row."""
        fold = folded(Scan(self.lines))
        fold.manifest = {"rows": len(self.fold.cohorts)}
        code = exit_of(summary_of(fold), owed=fold.owed, stop=None, halted=False, wait=False)
        for key in self.fold.cohorts if code is Exit.DONE else ():
            assert len(self.made[key]) == 1


Promise.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
TestPromise = Promise.TestCase
