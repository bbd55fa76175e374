"""Owns the faults by name, and the script: which call meets which of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from batchsnap.errors import UsageError

CREATE = "CreateSnapshot"


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
    disk_id: str = ""
    region: str = ""
    nth: tuple[int, ...] = ()
    committed: bool | None = None  # None: by the dice, as for a share
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


_MATCH = ("action", "disk_id", "region", "nth")


_STEP_TYPES: Mapping[str, tuple[type, ...]] = {
    "do": (str,),
    "action": (str,),
    "disk_id": (str,),
    "region": (str,),
    "committed": (bool,),
    "seconds": (int, float),
    "code": (str,),
    "message": (str,),
    "status": (int,),
}


def read_step(item: Any) -> Step:
    """One line of a script from its JSON. Raises UsageError."""
    values = dict(typed("a line of script", item, dict))
    values |= typed("match", values.pop("match", {}), dict)
    nth = values.pop("nth", ())
    numbers = nth if isinstance(nth, list | tuple) else [nth] if nth != () else []
    checked: dict[str, Any] = {"nth": tuple(typed("nth", n, int) for n in numbers)}
    for key, value in values.items():
        types = _STEP_TYPES.get(key)
        if types is None:
            raise UsageError(f"scenario: a line of script has no {key}")
        checked[key] = typed(key, value, *types)
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
