"""Frozen settings of a run; every default is a named constant with its unit."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple, TypedDict

from batchsnap.errors import UsageError

ENDPOINT_DEFAULT = "https://cbs.intl.tencentcloudapi.com"
NAME_DEFAULT = "batchsnap-{disk_id}-{id}"
RATE_PER_S = 20.0  # the published cap of CreateSnapshot
RATE_MIN_PER_S = 0.001  # slower than this a fleet's end is beyond the calendar
API_LIMIT_PER_S = 20  # what the account may do; support can raise it
API_LIMIT_MAX_PER_S = 16_000  # what a quota file has room for
MAX_IN_FLIGHT = 100  # five seconds' worth at the cap
RETRY_FOR_S = 30 * 60.0
SETTLE_FOR_S = 60.0
SETTLE_FOR_MIN_S = 15.0  # of a real cloud: what it made may be listed so late
TIMEOUT_S = 30.0
DAY_S = 24 * 3600.0
EXPIRE_AFTER_MIN_S = DAY_S  # the cloud takes no earlier Deadline
MAX_DURATION_S = 0.0  # 0: no bound
FRESH_MARGIN_S = 60.0  # by so much a snapshot must be younger than --unless-newer-than says
STRICT_HOLD_S = 60.0  # a strict gate frees the slot of a call without a reply after it

# What is beyond these is a slip of the pen, and far beyond them no date or timer can hold it.
EXPIRE_AFTER_MAX_S = 36_525 * DAY_S  # a hundred years
RETRY_FOR_MAX_S = 366 * DAY_S
SETTLE_FOR_MAX_S = DAY_S
TIMEOUT_MAX_S = 3600.0
MAX_DURATION_MAX_S = 366 * DAY_S
UNLESS_NEWER_THAN_MAX_S = 366 * DAY_S

_MAX_ERRORS = re.compile(r"(\d+|\d+(\.\d+)?%)?")
SETTLE_SCHEDULE_S = (5.0, 15.0, 30.0, 60.0)  # asks after a fault, at SETTLE_FOR_S
_SHOWN_S = 0.1  # so long after a simulator's declared delay its lists are surely up to date
SIGNATURE_DEAD_S = 300.0  # after this a request still on its way is refused by the cloud


class Given(TypedDict, total=False):
    """Settings that a caller gives, by the names of `Settings`."""

    region: str
    profile: str
    rate_per_s: float
    api_limit_per_s: int
    strict: bool
    max_in_flight: int
    max_creating: int
    name: str
    expire_after_s: float
    tags: tuple[tuple[str, str], ...]
    retry_for_s: float
    settle_for_s: float
    timeout_s: float
    max_errors: str
    canary: int
    max_duration_s: float
    unless_newer_than_s: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run was told. Kept in the ledger, so that a resume does the same."""

    region: str = ""  # for rows without one
    profile: str = ""  # for rows without one; "" is the default chain
    rate_per_s: float = RATE_PER_S
    api_limit_per_s: int = API_LIMIT_PER_S
    strict: bool = False
    max_in_flight: int = MAX_IN_FLIGHT
    max_creating: int = 0  # 0: no bound
    name: str = NAME_DEFAULT
    expire_after_s: float = 0.0  # 0: permanent
    tags: tuple[tuple[str, str], ...] = ()
    retry_for_s: float = RETRY_FOR_S
    settle_for_s: float = SETTLE_FOR_S
    timeout_s: float = TIMEOUT_S
    max_errors: str = ""  # "", a count, or a percentage such as "5%"
    canary: int = 0  # 0: none
    max_duration_s: float = MAX_DURATION_S
    unless_newer_than_s: float = 0.0  # 0: each row gets a snapshot of its own

    @property
    def settle_scale(self) -> float:
        """By how much the settle schedule is stretched."""
        return self.settle_for_s / SETTLE_FOR_S

    def settling(self, *, local: bool, given: bool) -> Settings:
        """With a --settle-for that the endpoint may be asked with: a stored one that is too short
        for it is raised. `local`: the endpoint is of this machine, perhaps a simulator.

        Raises:
            UsageError: one that is too short was `given` now.
        """
        if local or self.settle_for_s >= SETTLE_FOR_MIN_S:
            return self
        if given:
            raise UsageError(
                f"--settle-for {written(self.settle_for_s)} is below "
                f"{written(SETTLE_FOR_MIN_S)}: a snapshot may be listed later than that, and its "
                "row would be made twice. Only a simulator on a loopback address takes less"
            )
        return replace(self, settle_for_s=SETTLE_FOR_MIN_S)

    def check(self) -> None:
        """Raise UsageError for a value that can't be carried out."""
        if not 0 < self.api_limit_per_s <= API_LIMIT_MAX_PER_S:
            raise UsageError(f"--api-limit must be 1 to {API_LIMIT_MAX_PER_S}")
        if not RATE_MIN_PER_S <= self.rate_per_s < math.inf:  # a NaN is refused too
            raise UsageError(
                f"--rate {self.rate_per_s:g} must be a number of at least {RATE_MIN_PER_S:g}"
            )
        if self.rate_per_s > self.api_limit_per_s:
            raise UsageError(
                f"--rate {self.rate_per_s:g} is above the cloud's cap of {self.api_limit_per_s} "
                "calls a second. If support raised it for your account, say so with --api-limit N"
            )
        for name, least in (("max_in_flight", 1), ("max_creating", 0), ("canary", 0)):
            if (value := getattr(self, name)) < least:
                raise UsageError(f"{option_of(name)} {value} must be at least {least}")
        self._check_durations()
        if not _MAX_ERRORS.fullmatch(self.max_errors):
            raise UsageError(f"--max-errors {self.max_errors!r} is neither N nor N%")
        if self.max_errors.endswith("%") and float(self.max_errors[:-1]) > 100:
            raise UsageError(f"--max-errors {self.max_errors} is above 100%")

    def _check_durations(self) -> None:
        for option, seconds, most in (
            ("--expire-after", self.expire_after_s, EXPIRE_AFTER_MAX_S),
            ("--retry-for", self.retry_for_s, RETRY_FOR_MAX_S),
            ("--settle-for", self.settle_for_s, SETTLE_FOR_MAX_S),
            ("--timeout", self.timeout_s, TIMEOUT_MAX_S),
            ("--max-duration", self.max_duration_s, MAX_DURATION_MAX_S),
            ("--unless-newer-than", self.unless_newer_than_s, UNLESS_NEWER_THAN_MAX_S),
        ):
            if not 0 <= seconds <= most:  # a NaN is refused too
                what = f"{option} {written(seconds)}"
                raise UsageError(f"{what} is not between 0 and {written(most)}")
        if 0 < self.unless_newer_than_s <= FRESH_MARGIN_S:
            raise UsageError(
                f"--unless-newer-than must be above {written(FRESH_MARGIN_S)}: clocks differ"
            )
        if self.timeout_s == 0:
            raise UsageError("--timeout must be above 0")
        if self.strict and self.timeout_s >= STRICT_HOLD_S:
            raise UsageError(
                f"--strict needs a --timeout below {written(STRICT_HOLD_S)}, not "
                f"{written(self.timeout_s)}: it makes room for the next call after so long, and "
                "the one that is still out might then be throttled"
            )
        if self.expire_after_s and self.expire_after_s <= EXPIRE_AFTER_MIN_S:
            raise UsageError("--expire-after must be more than one day: the cloud takes no less")

    def options(self) -> list[str]:
        """As options are written: those that differ from the defaults."""
        said: list[str] = []
        for name, default in asdict(Settings()).items():
            value = getattr(self, name)
            if value == default:
                continue
            option = option_of(name)
            if name == "tags":
                said += [f"{option} {shlex.quote(f'{key}={text}')}" for key, text in value]
            elif value is True:
                said.append(option)
            elif name.endswith("_s") and not name.endswith("_per_s"):
                said.append(f"{option} {written(value)}")
            else:
                text = f"{value:g}" if isinstance(value, float) else str(value)
                said.append(f"{option} {shlex.quote(text)}")
        return said

    def to_json(self) -> dict[str, Any]:
        """The form kept in the ledger."""
        return {**asdict(self), "tags": dict(self.tags)}

    def merged(self, stored: Mapping[str, Any]) -> Settings:
        """These settings with the stored ones over them; unknown names are left out."""
        known = {f.name for f in fields(self)}
        values = {k: v for k, v in stored.items() if k in known}
        if "tags" in values:
            values["tags"] = tuple((str(k), str(v)) for k, v in dict(values["tags"]).items())
        return replace(self, **values)


def option_of(name: str) -> str:
    """The option that gives a setting: `--expire-after` of `expire_after_s`."""
    plain = re.sub(r"(_per)?_s$", "", name) if name != "tags" else "tag"
    return f"--{plain.replace('_', '-')}"


def written(seconds: float) -> str:
    """A duration as options take it: `30d`, `90s`."""
    for unit, size in (("d", DAY_S), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait where the cloud says no, in seconds. A demo shortens them all."""

    busy_first_s: float = 30.0
    busy_max_s: float = 300.0
    region_first_s: float = 60.0  # BACKPRESSURE
    region_max_s: float = 300.0
    throttled_s: float = 1.0
    throttled_account_s: float = 5.0  # a limit shared with other tools: between 2 and 10 s
    transient_first_s: float = 1.0
    transient_max_s: float = 60.0
    streak_first_s: float = 1.0  # after ten faults, doubts or throttles in a row
    streak_max_s: float = 60.0
    signature_dead_s: float = SIGNATURE_DEAD_S
    settle_s: tuple[float, ...] = SETTLE_SCHEDULE_S

    def fitted(self, retry_for_s: float) -> Waits:
        """With a short --retry-for a busy row comes back sooner, so that it gets its tries."""
        share = min(1.0, retry_for_s / RETRY_FOR_S)
        return replace(
            self, busy_first_s=self.busy_first_s * share, busy_max_s=self.busy_max_s * share
        )

    def scaled(self, factor: float) -> Waits:
        """All of them, times `factor`."""
        values: dict[str, Any] = asdict(self)
        for name, value in values.items():
            values[name] = (
                tuple(v * factor for v in value) if isinstance(value, tuple) else value * factor
            )
        return Waits(**values)


class Patience(NamedTuple):
    """How long the cloud's silence is listened to, in seconds."""

    looks_s: tuple[float, ...]  # when a doubt is asked about, counted from its fault
    signature_dead_s: float  # after it nothing that was signed arrives any more
    scale: float  # of the settle schedule


def patience(settings: Settings, waits: Waits, declared_s: float | None) -> Patience:
    """With a cloud that declares itself a simulator whose lists lag by `declared_s`; None: with
    any other, and with one that was not heard yet.

    Only a simulator's time is shortened, its signatures' too, and never so much that the last look
    comes before its lists show what it made.
    """
    last_s, dead_s, scale = waits.settle_s[-1], waits.signature_dead_s, settings.settle_scale
    if declared_s is None:
        scale = max(scale, SETTLE_FOR_MIN_S / SETTLE_FOR_S)
    else:
        dead_s *= min(1.0, scale)
        scale = max(scale, min(1.0, (declared_s + _SHOWN_S) / last_s))
    return Patience(tuple(look * scale for look in waits.settle_s), dead_s, scale)
