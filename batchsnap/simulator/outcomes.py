"""Owns what happens to one call: (scenario, call) -> Outcome, nothing else read.

Chance is a hash of (seed, disk, number of that disk's try), so a seed gives every disk the same
faults in whatever order the calls arrive and however many were refused as too fast. A generator
would hand out its numbers in order of arrival, which no two runs share.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import NamedTuple

from batchsnap.simulator.scenario import CREATE, MAKERS, SHARES, Kind, Scenario, Step

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_TWO_64 = float(1 << 64)


def _number(labels: tuple[object, ...]) -> int:
    text = "\0".join(map(str, labels)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def chance(*labels: object) -> float:
    """A number in [0, 1), even over all labels. The first label is the seed by custom."""
    # The top of the range rounds to 2**64, which would give 1.0.
    return min(_number(labels) / _TWO_64, 1.0 - 2.0**-53)


def bell(*labels: object) -> float:
    """A number of the standard normal distribution (Box and Muller's way)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - chance("radius", *labels)))
    return radius * math.cos(math.tau * chance("angle", *labels))


def pick(choices: tuple[str, ...], *labels: object) -> str:
    """One of the choices."""
    return choices[_number(labels) % len(choices)]


def word(*labels: object) -> str:
    """Eight characters of [0-9a-z], the form of the tail of every resource id."""
    number = _number(labels)
    letters = []
    for _ in range(8):
        number, digit = divmod(number, 36)
        letters.append(_ALPHABET[digit])
    return "".join(letters)


# Done before the trouble starts, whatever the share `committed` says.
_ALWAYS_DONE = frozenset({Kind.OK, Kind.LOST_REPLY, Kind.TRUNCATED, Kind.DRIP, Kind.LATE})
_PERHAPS_DONE = frozenset(
    {Kind.ERROR_5XX, Kind.HTML_200, Kind.HANG, Kind.NULL_ID, Kind.INTERNAL_ERROR}
)
# Code and message of the kinds that answer in the API's own form.
_ERRORS = {
    Kind.INTERNAL_ERROR: ("InternalError.ComponentError", "A component behind the API failed."),
    Kind.BUSY: ("InvalidDisk.Busy", "The disk is busy with another operation."),
    Kind.BACKPRESSURE: (
        "ResourceUnavailable.TooManyCreatingSnapshot",
        "Too many snapshots are being created at the moment.",
    ),
    Kind.NOT_FOUND: ("InvalidDiskId.NotFound", "The disk does not exist in this region."),
    Kind.THROTTLE: ("RequestLimitExceeded", "`21` calls in one second, the limit is `20`."),
    Kind.ERROR: ("InternalError", "The script says so."),
}


class Call(NamedTuple):
    """One call that was within its limit, with its 1-based numbers."""

    action: str
    disk_id: str  # or what else is made a snapshot of: a backup point, a snapshot; "" of questions
    region: str
    disk_nth: int
    region_nth: int
    nth: int
    since_first_s: float  # since this disk's first call


class Outcome(NamedTuple):
    """What happens. `committed` says whether the action is carried out."""

    kind: Kind
    committed: bool
    code: str = ""  # the API's error code, where one is answered
    message: str = ""
    seconds: float = 0.0  # of silence, delay or dripping
    status: int = 200


WELL = Outcome(Kind.OK, True)


def outcome_of(scenario: Scenario, call: Call) -> Outcome:
    """The script first, then what the disk or region is like, then chance."""
    for step in scenario.script:
        if _meant(step, call):
            return _make(scenario, call, step.do, step)
    if call.action not in MAKERS:
        return _of_others(scenario, call)
    kind = _state_of_things(scenario, call) if call.action == CREATE else None
    if kind is None:
        throw = chance(scenario.seed, "fate", call.disk_id, call.disk_nth)
        for kind in SHARES:
            throw -= getattr(scenario, kind)
            if throw < 0:
                break
        else:
            return WELL
    return _make(scenario, call, kind, Step(kind))


def denial(action: str) -> str:
    """What an identity is told that may not do this; it names what a policy would have to."""
    return f"The policy of this identity allows neither cvm:{action} nor cbs:{action}."


def missing(scenario: Scenario, disk_id: str) -> bool:
    """Whether this is one of the disks that the share `not_found` takes out of the world."""
    share = scenario.not_found
    return bool(share) and chance(scenario.seed, "not_found", disk_id) < share


def latency_s(scenario: Scenario, *labels: object) -> float:
    """Seconds from arrival to reply, log-normal about the median."""
    if not scenario.latency_ms:
        return 0.0
    spread = scenario.latency_spread
    factor = math.exp(spread * bell(scenario.seed, "latency", *labels)) if spread else 1.0
    return scenario.latency_ms / 1000.0 * factor


def jitter_s(scenario: Scenario, *labels: object) -> float:
    """Seconds that a call is held up on its way in, before anybody counts it."""
    if not scenario.jitter_ms:
        return 0.0
    throw = chance(scenario.seed, "jitter", *labels)
    factor = throw if scenario.jitter_kind == "uniform" else -math.log(1.0 - throw)
    return scenario.jitter_ms / 1000.0 * factor


def _meant(step: Step, call: Call) -> bool:
    if step.action not in ("*", call.action):
        return False
    if step.disk_id and step.disk_id != call.disk_id:
        return False
    if step.region and step.region != call.region:
        return False
    number = call.disk_nth if step.disk_id else call.region_nth if step.region else call.nth
    return not step.nth or number in step.nth


def _of_others(scenario: Scenario, call: Call) -> Outcome:
    if call.action == "DescribeDisks" and scenario.no_describe_disks:
        return Outcome(Kind.ERROR, False, "UnauthorizedOperation", denial(call.action))
    if scenario.read_fault and (
        chance(scenario.seed, "read", call.action, call.nth) < scenario.read_fault
    ):
        return Outcome(Kind.ERROR_5XX, False, status=502)
    return WELL


def _state_of_things(scenario: Scenario, call: Call) -> Kind | None:
    if missing(scenario, call.disk_id):
        return Kind.NOT_FOUND
    if call.region_nth <= scenario.backpressure_first:
        return Kind.BACKPRESSURE
    if scenario.busy and chance(scenario.seed, "busy", call.disk_id) < scenario.busy:
        if scenario.busy_s > 0:
            still = call.since_first_s < scenario.busy_s
        else:
            still = call.disk_nth <= scenario.busy_tries
        if still:
            return Kind.BUSY
    return None


def _make(scenario: Scenario, call: Call, kind: Kind, step: Step) -> Outcome:
    if step.committed is not None:
        committed = step.committed
    elif kind in _PERHAPS_DONE:
        throw = chance(scenario.seed, "committed", call.disk_id, call.disk_nth)
        committed = throw < scenario.committed
    else:
        committed = kind in _ALWAYS_DONE
    seconds = step.seconds
    if seconds is None:
        seconds = {
            Kind.HANG: scenario.hang_s,
            Kind.LATE: scenario.late_s,
            Kind.DRIP: scenario.drip_s,
        }.get(kind, 0.0)
    code, message = _ERRORS.get(kind, ("", ""))
    status = step.status if kind is Kind.ERROR_5XX else 200
    return Outcome(kind, committed, step.code or code, step.message or message, seconds, status)
