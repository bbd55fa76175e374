"""Owns `Scenario`: how this cloud behaves, as one frozen value with a JSON form, down to the script
that says which call meets which fault; and the scenarios that have a name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from batchsnap.errors import UsageError

CREATE = "CreateSnapshot"
COPY = "CopySnapshotCrossRegions"
MAKERS = (CREATE, COPY)
"""The calls that make a snapshot, which meet the shares of faults."""

# Calls a second, as the product's API category page prints them (362/15634).
PUBLISHED_CAPS: Mapping[str, float] = {"DescribeDisks": 100.0, "AssumeRole": 600.0}
PUBLISHED_CAP_PER_S = 20.0

_MATCH = ("action", "disk_id", "region", "nth")
_TYPES: Mapping[str, tuple[type, ...]] = {
    **{"str": (str,), "int": (int,), "bool": (bool,)},
    **{"Kind": (str,), "bool | None": (bool,), "float | None": (int, float)},
}
"""What the JSON of a field may be, by the field's type."""


class Kind(StrEnum):
    """What can happen to a call. The words are those of `Scenario.script` and `/_sim/state`."""

    OK = "ok"
    LOST_REPLY = "lost_reply"  # done, then the connection drops
    RESET = "reset"  # the connection drops, nothing done
    LATE = "late"  # the connection drops, and it is done `late_s` later
    ERROR_5XX = "error_5xx"  # a proxy's 502 page
    HTML_200 = "html_200"  # somebody's login page
    TRUNCATED = "truncated"  # done, then half of the reply
    HANG = "hang"  # silence until the client gives up
    NULL_ID = "null_id"  # a reply whose SnapshotId is null
    INTERNAL_ERROR = "internal_error"
    THROTTLE = "throttle_extra"  # refused as too fast although it was not
    BUSY = "busy"
    BACKPRESSURE = "backpressure"
    NOT_FOUND = "not_found"
    DRIP = "drip"  # done, and the reply comes a byte at a time
    ERROR = "error"  # any code, for scripts


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a script: the calls it means, and what happens to them.

    `nth` holds 1-based call numbers: of the disk where `disk_id` is given, else of the region
    where that is, else of the action; empty means every call.
    """

    do: Kind
    action: str = CREATE  # "*" for any
    disk_id: str = ""  # of a copy: its source's SnapshotId
    region: str = ""
    nth: tuple[int, ...] = ()
    committed: bool | None = None  # None: by chance, as for a share
    seconds: float | None = None  # None: hang_s, late_s or drip_s
    code: str = ""  # of the error, where `do` answers with one
    message: str = ""
    status: int = 502  # of error_5xx

    def to_json(self) -> dict[str, Any]:
        """`{"match": {...}, "do": ..., ...}` with the defaults left out."""
        plain = Step(self.do)
        changed = {k: v for k, v in asdict(self).items() if v != getattr(plain, k)}
        match = {k: changed.pop(k) for k in _MATCH if k in changed}
        return {"match": match, "do": self.do.value, **changed}


def read_step(item: Any) -> Step:
    """One line of a script from its JSON. Raises UsageError."""
    values = dict(typed("a line of script", item, dict))
    values |= typed("match", values.pop("match", {}), dict)
    nth = values.pop("nth", ())
    numbers = nth if isinstance(nth, list | tuple) else [nth] if nth != () else []
    checked: dict[str, Any] = {"nth": tuple(typed("nth", n, int) for n in numbers)}
    kinds = {f.name: str(f.type) for f in fields(Step)}
    for key, value in values.items():
        if key not in kinds:
            raise UsageError(f"scenario: a line of script has no {key}")
        checked[key] = typed(key, value, *_TYPES[kinds[key]])
    try:
        checked["do"] = Kind(values.get("do", ""))
    except ValueError:
        raise UsageError(f"scenario: do must be one of {', '.join(Kind)}") from None
    return Step(**checked)


def typed(name: str, value: Any, *types: type) -> Any:
    """The value, if it is of one of the types; True is no number. Raises UsageError."""
    wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
    if wrong:
        names = " or ".join(t.__name__ for t in types)
        raise UsageError(f"scenario: {name} must be {names}, not {value!r}")
    return value


# The shares of create calls, in the order in which chance picks among them.
SHARES = (
    *(Kind.LOST_REPLY, Kind.RESET, Kind.LATE, Kind.ERROR_5XX, Kind.HTML_200, Kind.TRUNCATED),
    *(Kind.HANG, Kind.NULL_ID, Kind.INTERNAL_ERROR, Kind.THROTTLE),
)
_SHARES_OF_DISKS = ("busy", "not_found", "vanish", "committed", "read_fault")


@dataclass(frozen=True, slots=True)
class Scenario:
    """How the simulated cloud behaves. Shares are 0..1, times are seconds unless named `_ms`.

    Raises UsageError for a value out of its range.
    """

    seed: int = 0
    # The road and the machine.
    latency_ms: float = 5.0  # median from arrival to reply
    latency_spread: float = 0.2  # sigma of its log-normal; 0: always the median
    commit_at: float = 0.5  # at which share of the latency the snapshot is made
    jitter_ms: float = 0.0  # on the way in, before the call is counted
    jitter_kind: str = "uniform"  # 0..jitter_ms, or "exponential" with that mean
    clock_offset_s: float = 0.0  # the server's clock ahead of ours
    # Quotas of calls, per (action, SecretId).
    cap_per_s: float = PUBLISHED_CAP_PER_S  # of CreateSnapshot; 0: none
    caps: Mapping[str, float] = field(default_factory=dict)  # of other actions, by name
    throttle_window: str = "sliding"  # or "fixed"
    count_rejected: bool = True
    # Shares of the calls that make snapshots; together at most 1.
    lost_reply: float = 0.0
    reset: float = 0.0
    late: float = 0.0
    error_5xx: float = 0.0
    html_200: float = 0.0
    truncated: float = 0.0
    hang: float = 0.0
    null_id: float = 0.0
    internal_error: float = 0.0
    throttle_extra: float = 0.0
    committed: float = 0.5  # of 5xx, html, hang, null_id, internal_error: really done
    hang_s: float = 60.0
    late_s: float = 2.0
    drip_s: float = 1.0
    read_fault: float = 0.0  # share of all other calls that meet a 502
    # Shares of disks.
    busy: float = 0.0
    busy_tries: int = 2  # busy for so many tries
    busy_s: float = 0.0  # if set: busy for so long after the first try instead
    not_found: float = 0.0
    vanish: float = 0.0  # snapshots whose creation fails: they disappear at its end
    # Regions.
    backpressure_first: int = 0  # so many first creates of a region meet TooManyCreating
    max_creating: int = 0  # so many at once in a region, TooManyCreating beyond; 0: no bound
    quota_snapshots: int = 0  # so many in a region, InsufficientSnapshotQuota beyond; 0: no bound
    # Snapshots.
    creating_s: float = 1.0  # CREATING before NORMAL
    copying_s: float = 1.0  # COPYING_FROM_REMOTE and CHECKING_COPIED before NORMAL
    visible_after_s: float = 0.0  # before DescribeSnapshots shows it
    hides_snapshots: bool = False  # DescribeSnapshots shows none, and nothing declares that
    # Account.
    bad_credentials: bool = False
    no_describe_disks: bool = False
    no_sts: bool = False  # the policy forbids AssumeRole and GetCallerIdentity
    unknown_disks: str = "auto"  # "any": exist · "refuse" · "auto": refuse if a fleet was given
    role_ttl_s: float = 7200.0  # life of the keys that the metadata service gives out
    script: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        for name in (*SHARES, *_SHARES_OF_DISKS, "commit_at"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"scenario: {name} is a share, it must be from 0 to 1")
        if sum(getattr(self, name) for name in SHARES) > 1.0 + 1e-9:
            raise UsageError("scenario: the shares of create calls add up to more than 1")
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, int | float) and value < 0 and f.name not in _MAY_BE_NEGATIVE:
                raise UsageError(f"scenario: {f.name} must not be negative")
        for name, allowed in _WORDS.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"scenario: {name} must be one of {', '.join(allowed)}")

    def cap_of(self, action: str) -> float:
        """Calls a second that this action may get; 0 means no bound."""
        if action in self.caps:
            return self.caps[action]
        if action == CREATE:
            return self.cap_per_s
        return PUBLISHED_CAPS.get(action, PUBLISHED_CAP_PER_S)

    def with_values(self, values: Mapping[str, Any]) -> Scenario:
        """A copy with JSON values over its fields. Raises UsageError for a wrong one."""
        types = {f.name: f.type for f in fields(self)}
        unknown = sorted(values.keys() - types.keys())
        if unknown:
            raise UsageError(
                f"scenario: there is no field {unknown[0]}; the fields are {', '.join(types)}"
            )
        return replace(self, **{k: _value(k, str(types[k]), v) for k, v in values.items()})

    def to_json(self) -> dict[str, Any]:
        """Every field; `scenario_of` gives the same scenario back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **values,
            "caps": dict(self.caps),
            "script": [step.to_json() for step in self.script],
        }


_MAY_BE_NEGATIVE = ("seed", "clock_offset_s")
_WORDS = {
    "jitter_kind": ("uniform", "exponential"),
    "throttle_window": ("sliding", "fixed"),
    "unknown_disks": ("auto", "any", "refuse"),
}


def _value(name: str, kind: str, value: Any) -> Any:
    if name == "script":
        return tuple(read_step(item) for item in typed(name, value, list))
    if name == "caps":
        caps = typed(name, value, dict)
        return {str(k): _number(f"caps.{k}", v) for k, v in caps.items()}
    if kind == "float":
        return _number(name, value)
    return typed(name, value, *_TYPES[kind])


def _number(name: str, value: Any) -> float:
    number = float(typed(name, value, int, float))
    if not math.isfinite(number):
        raise UsageError(f"scenario: {name} must be a number, not {value!r}")
    if number < 0 and name not in _MAY_BE_NEGATIVE:
        raise UsageError(f"scenario: {name} must not be negative")
    return number


PRESETS: Mapping[str, Scenario] = {
    "calm": Scenario(),
    "strict": Scenario(latency_ms=120.0, latency_spread=0.2),
    "lossy": Scenario(lost_reply=0.05, latency_ms=20.0),
    "demo": Scenario(
        latency_ms=40.0,
        latency_spread=0.4,
        jitter_ms=2.0,
        lost_reply=0.01,
        error_5xx=0.005,
        throttle_extra=0.02,
        busy=0.03,
        busy_tries=1,
        backpressure_first=1,
        creating_s=3.0,
    ),
    "hostile": Scenario(
        latency_ms=60.0,
        latency_spread=0.8,
        jitter_ms=20.0,
        jitter_kind="exponential",
        lost_reply=0.04,
        reset=0.03,
        late=0.01,
        error_5xx=0.04,
        html_200=0.01,
        truncated=0.02,
        hang=0.01,
        null_id=0.01,
        internal_error=0.03,
        throttle_extra=0.05,
        read_fault=0.05,
        busy=0.05,
        not_found=0.01,
        backpressure_first=3,
        creating_s=5.0,
        visible_after_s=2.0,
    ),
}


def preset(name: str) -> Scenario:
    """The preset of that name. Raises UsageError, naming them all, where there is none."""
    if name not in PRESETS:
        raise UsageError(f"scenario: no preset {name}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def scenario_of(values: Mapping[str, Any]) -> Scenario:
    """From `{field: value}`, over the preset that a key `preset` may name. Raises UsageError."""
    if not isinstance(values, Mapping):
        raise UsageError("scenario: must be a JSON object")
    rest = dict(values)
    name = rest.pop("preset", None)
    return (Scenario() if name is None else preset(str(name))).with_values(rest)
