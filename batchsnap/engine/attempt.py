"""One attempt, top to bottom: intent on disk, token, sign and send, classify, outcome on disk.

The order is the first two promises. The intent is durable before a byte leaves, so a death at any
line leaves either nothing sent or a doubt that the next process sees. The token comes directly
before the send, so a stalled disk delays sends and never bunches them; where the connection is slow
to come, the call waits for another token once it is there. The slot (a bound on what is out) was
taken by the dispatcher before all this.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from batchsnap.client.account import Account, Start
from batchsnap.client.ports import Gate
from batchsnap.cloud import faults
from batchsnap.cloud.tc3 import Credential
from batchsnap.engine.halts import Halts
from batchsnap.errors import CredentialsError
from batchsnap.failpoints import failpoint
from batchsnap.ledger.record import stamp
from batchsnap.lifecycle import Event
from batchsnap.model import Fault, PlannedRequest, Reply, Ruling, Scope, Verdict
from batchsnap.pacing.quota_file import Shut
from batchsnap.retry import Breaker, Decision, Do, decide
from batchsnap.settling.row import Row, RunContext

_SHARED_LIMIT = "RequestLimitExceeded."  # the account's or the address's, shared with other tools


async def attempt(
    row: Row,
    account: Account,
    context: RunContext,
    halts: Halts,
    breaker: Breaker,
    *,
    started: Callable[[], None],
) -> tuple[Ruling | None, Decision]:
    """Try once to make the row's snapshot; (None, WAIT now) where nothing was sent.

    `breaker`: of the row's region, which learns from the outcome, so that the record tells until
    when it rests. `started` is called once the token is taken or will not be needed.

    Raises:
        LedgerUnwritable: nothing may be sent any more.
    """
    sink, maker = context.sink, context.maker
    doubted = sink.fold.standing(row.key).doubted
    try:
        credential = await account.credential()
    except CredentialsError as error:
        started()
        ruling = Ruling(Verdict.HALT, "credentials", str(error), "", "", Scope.ACCOUNT)
        context.note(Event.HALTED, row, **details_of(ruling), scope=Scope.ACCOUNT.value)
        return ruling, Decision(Do.HALT)
    gate = account.gate(maker.action)
    region = row.request.region

    def may_leave() -> bool:
        halted = halts.of(account.profile, region) is not None
        return not (context.stop.stopping or context.sink.failure is not None or halted)

    start = await _intend(row, gate, context, may_leave)
    started()
    if start is None:
        context.note(Event.UNSENT, row)
        return None, Decision(Do.WAIT)
    failpoint("token_taken")
    offset = account.offset_s
    body = maker.body(_dated(row.request, context))
    began = context.clock.wall(), context.clock.monotonic()
    outcome = await account.post(maker.action, row.request.region, body, credential, start)
    failpoint("reply_read")
    ruling = faults.rule(outcome, doubted=doubted, made=maker.made)
    start.replied(throttled=ruling.verdict is Verdict.THROTTLED)
    if ruling.code.startswith(_SHARED_LIMIT):
        gate.pause(context.waits.throttled_account_s)
    if await _mended(account, ruling, outcome, credential, offset):
        decision = Decision(Do.WAIT)
    else:
        suspect = halts.suspects(account.profile, region, ruling)
        decision = _decided(row, ruling, context, breaker, doubted=doubted, suspect=suspect)
    if ruling.verdict is Verdict.SUSPECT and decision.do is not Do.HOLD:
        ruling = refusal(row, ruling)
    _record_outcome(row, ruling, decision, context, _timing(outcome, start.left_at, *began))
    return ruling, decision


def refusal(row: Row, ruling: Ruling) -> Ruling:
    """What a suspect's code means, now that it is known to be meant for its row alone."""
    message = f"{ruling.message} ({row.remark})" if row.remark else ruling.message
    return ruling._replace(verdict=Verdict.REJECTED, message=message)


def refuse(row: Row, ruling: Ruling, context: RunContext) -> Do:
    """Record that the row will never work, as others have shown; what is to be done next: if it
    was in doubt, it is asked about once more before that is said."""
    doubted = context.sink.fold.standing(row.key).doubted
    context.note(Event.IN_DOUBT if doubted else Event.REJECTED, row, **details_of(ruling))
    if not doubted:
        return Do.DONE
    row.rejection = ruling
    row.doubt_since = context.clock.monotonic()
    return Do.SETTLE


def _timing(outcome: Reply | Fault, left_at: float, wall: float, began: float) -> dict[str, object]:
    """When the call left, if it did, and how long it took. A wall clock that is set meanwhile does
    not move that, nor does a host that stands still before the reply is looked at."""
    if isinstance(outcome, Fault) and not outcome.sent:
        return {}
    return {
        "sent_at": stamp(wall + left_at - began),
        "latency_ms": round(outcome.latency_ms, 1),
    }


async def _intend(
    row: Row, gate: Gate, context: RunContext, may_leave: Callable[[], bool]
) -> Start | None:
    """Make the intent durable and wait for the token; None where the run stops first, or the
    row's scope."""
    sink = context.sink
    row.attempt += 1
    await sink.durable(
        context.note(Event.INTENT, row, snapshot_name=row.request.name, baseline=row.baseline)
    )
    try:
        token = await gate.start()
    except Shut:  # the stop ends a wait
        return None
    if may_leave():
        return Start(gate, token, context.clock, may_leave)
    gate.replied(token, throttled=False)
    return None


def _dated(request: PlannedRequest, context: RunContext) -> PlannedRequest:
    """With the Deadline that --expire-after gives, counted from now."""
    if request.deadline or not context.settings.expire_after_s:
        return request
    moment = datetime.fromtimestamp(
        int(context.clock.wall() + context.settings.expire_after_s), UTC
    )
    return request._replace(deadline=moment.isoformat())


def _decided(
    row: Row,
    ruling: Ruling,
    context: RunContext,
    breaker: Breaker,
    *,
    doubted: bool,
    suspect: bool,
) -> Decision:
    """What is next for the row, now that its region has learned from the outcome."""
    now = context.clock.monotonic()
    breaker.note(ruling.verdict, now)
    return decide(
        ruling,
        row.tries,
        doubted=doubted,
        suspect=suspect,
        now=now,
        retry_for_s=context.settings.retry_for_s,
        waits=context.waits,
        rand=context.rng.random(),
        rests_s=max(0.0, breaker.rest_until - now),
    )


async def _mended(
    account: Account,
    ruling: Ruling,
    outcome: Reply | Fault,
    credential: Credential,
    offset_s: float,
) -> bool:
    """Whether what halted the call is mended: a clock that is off, a key that was rotated."""
    if ruling.verdict is not Verdict.HALT:
        return False
    try:
        return await account.mend(ruling.code, outcome, credential, offset_s)
    except CredentialsError:
        return False


def details_of(ruling: Ruling | None) -> dict[str, object]:
    """The fields of an outcome's record that tell why."""
    if ruling is None:
        return {}
    return {
        "code": ruling.code,
        "message": ruling.message,
        "verdict": ruling.verdict.value,
        "request_id": ruling.request_id,
    }


_EVENT = {
    Do.WAIT: Event.DEFERRED,
    Do.HOLD: Event.DEFERRED,
    Do.SETTLE: Event.IN_DOUBT,
    Do.HALT: Event.HALTED,
    Do.GIVE_UP: Event.GAVE_UP,
}


def event_of(ruling: Ruling, decision: Decision) -> Event:
    """The event that records an outcome."""
    if decision.do is Do.DONE:
        return Event.ACCEPTED if ruling.verdict is Verdict.ACCEPTED else Event.REJECTED
    return _EVENT[decision.do]


def _record_outcome(
    row: Row, ruling: Ruling, decision: Decision, context: RunContext, timing: dict[str, object]
) -> None:
    event = event_of(ruling, decision)
    if event is Event.ACCEPTED:
        made, request_id = ruling.snapshot_id, ruling.request_id
        context.note(event, row, snapshot_id=made, request_id=request_id, **timing)
        return
    details = details_of(ruling)
    if decision.do is Do.WAIT:
        details["not_before"] = stamp(context.clock.wall() + decision.delay_s)
    elif event is Event.HALTED and ruling.scope is not None:
        details["scope"] = ruling.scope.value
    context.note(event, row, **details, **timing)
