"""Frozen settings of a run. Each stands once, in `Settings`: its name, which ends in its unit, its
default and its bounds. Its option, the form in the ledger and the checks follow from that."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NamedTuple, TypedDict, get_type_hints

from batchsnap.errors import UsageError

ENDPOINT_DEFAULT = "https://cbs.intl.tencentcloudapi.com"
NAME_DEFAULT = "batchsnap-{disk_id}-{id}"
RATE_PER_S = 20.0  # the published cap of CreateSnapshot
API_LIMIT_MAX_PER_S = 16_000  # what a quota file has room for
SETTLE_FOR_S = 60.0
SETTLE_FOR_MIN_S = 15.0  # of a real cloud: what it made may be listed so late
RETRY_FOR_S = 30 * 60.0
TIMEOUT_S = 30.0
DAY_S = 24 * 3600.0
EXPIRE_AFTER_MIN_S = DAY_S  # the cloud takes no earlier Deadline
MAX_DURATION_S = 0.0  # 0: no bound
FRESH_MARGIN_S = 60.0  # by so much a snapshot must be younger than --unless-newer-than says
STRICT_HOLD_S = 60.0  # a strict gate frees the slot of a call without a reply after it
_YEAR_S = 366 * DAY_S
_COUNT_MAX = 2**53  # what every reader of a ledger's JSON holds exactly
_MAX_ERRORS = re.compile(r"(\d{1,15}|\d{1,15}(\.\d+)?%)?")
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


def _number(default: float, least: float = 0, most: float = math.inf) -> Any:
    """A setting that lies between bounds: what is beyond `most` is a slip of the pen, and far
    beyond it no date or timer can hold it."""
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run was told. Kept in the ledger, so that a resume does the same."""

    region: str = ""  # for rows without one
    profile: str = ""  # for rows without one; "" is the default chain
    # slower than the least a fleet's end is beyond the calendar
    rate_per_s: float = _number(RATE_PER_S, 0.001, API_LIMIT_MAX_PER_S)
    # what the account may do; support can raise it
    api_limit_per_s: int = _number(20, 1, API_LIMIT_MAX_PER_S)
    strict: bool = False
    max_in_flight: int = _number(100, 1, _COUNT_MAX)  # five seconds' worth at the cap
    max_creating: int = _number(0, most=_COUNT_MAX)  # 0: no bound
    name: str = NAME_DEFAULT
    expire_after_s: float = _number(0.0, most=100 * 365.25 * DAY_S)  # 0: permanent
    tags: tuple[tuple[str, str], ...] = ()
    retry_for_s: float = _number(RETRY_FOR_S, most=_YEAR_S)
    settle_for_s: float = _number(SETTLE_FOR_S, most=DAY_S)
    timeout_s: float = _number(TIMEOUT_S, most=3600.0)
    max_errors: str = ""  # "", a count, or a percentage such as "5%"
    canary: int = _number(0, most=_COUNT_MAX)  # 0: none
    max_duration_s: float = _number(MAX_DURATION_S, most=_YEAR_S)
    unless_newer_than_s: float = _number(0.0, most=_YEAR_S)  # 0: each row gets one of its own

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

    def unbraked(self) -> Settings:
        """Without what is counted over a whole run, and stops or holds it."""
        return replace(self, max_errors="", canary=0, max_creating=0)

    def check(self) -> None:
        """Raise UsageError for a value that can't be carried out."""
        for setting in fields(self):
            if setting.metadata:
                _check_bounds(setting.name, getattr(self, setting.name), **setting.metadata)
        if self.rate_per_s > self.api_limit_per_s:
            raise UsageError(
                f"--rate {self.rate_per_s:g} is above the cloud's cap of {self.api_limit_per_s} "
                "calls a second. If support raised it for your account, say so with --api-limit N"
            )
        self._check_durations()
        if not _MAX_ERRORS.fullmatch(self.max_errors):
            raise UsageError(f"--max-errors {self.max_errors!r} is neither N nor N%")
        if self.max_errors.endswith("%") and float(self.max_errors[:-1]) > 100:
            raise UsageError(f"--max-errors {self.max_errors} is above 100%")

    def _check_durations(self) -> None:
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
            else:
                said.append(f"{option} {shlex.quote(shown(name, value))}")
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


SETTINGS: Mapping[str, tuple[Any, Any]] = {
    name: (kind, getattr(Settings(), name)) for name, kind in get_type_hints(Settings).items()
}
"""The type and the default of each setting."""


def option_of(name: str) -> str:
    """The option that gives a setting: `--expire-after` of `expire_after_s`."""
    plain = re.sub(r"(_per)?_s$", "", name) if name != "tags" else "tag"
    return f"--{plain.replace('_', '-')}"


def is_duration(name: str) -> bool:
    """Whether a setting is one, in seconds."""
    return name.endswith("_s") and not name.endswith("_per_s")


def shown(name: str, value: Any) -> str:
    """A setting's value as its option takes it."""
    if is_duration(name):
        return written(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _check_bounds(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # a NaN is refused too
        bounds = f"at least {shown(name, least)}"
        if most < math.inf:
            bounds = f"from {shown(name, least)} to {shown(name, most)}"
        raise UsageError(f"{option_of(name)} {shown(name, value)} must be {bounds}")


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def duration_text(seconds: float) -> str:
    """A duration for people, its two largest units: `1 h 23 min`, `45 s`, `2 d 3 h`."""
    left = max(0, round(seconds))
    if left == 0:
        return "0 s" if seconds <= 0 else "under 1 s"
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        if parts and (len(parts) == 2 or not count):
            break
    return " ".join(parts)


def written(seconds: float) -> str:
    """A duration as options take it: `30d`, `90s`."""
    for unit, size in (("d", DAY_S), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.15g}s"


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
