"""What a program may ask of a run, and whether it is of the right type.

A checker of types says it before the program runs; this says it to the others, and before
anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from batchsnap.client.ports import CredentialSource
from batchsnap.client.stopping import Stop
from batchsnap.settings import SETTINGS, Given

if TYPE_CHECKING:
    from batchsnap.simulator.scenario import Scenario


class Options(Given, total=False):
    """How to go about a run, beside the settings, which its ledger keeps."""

    endpoint: str  # a URL or name; "": BATCHSNAP_ENDPOINT, else the ledger's, else intl
    credentials: CredentialSource  # else the chain of the command line
    encoding: str | None  # of the manifest, where it can't be told
    retry_failed: bool  # take up rejected rows again
    wait: bool  # until every snapshot is ready
    stop: Stop  # its `request` drains the run
    say: Callable[[str], None]  # hears what a person should know
    simulate: bool | Scenario  # rehearse against a built-in cloud: no other is ever reached


class _Kind(NamedTuple):
    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_pairs(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in value
    )


def _is_scenario(value: Any) -> bool:
    if isinstance(value, bool):
        return True
    from batchsnap.simulator.scenario import Scenario

    return isinstance(value, Scenario)


_TEXT = _Kind("a str", lambda value: isinstance(value, str))
_FLAG = _Kind("a bool", lambda value: isinstance(value, bool))
_OF_TYPE: Mapping[Any, _Kind] = {
    str: _TEXT,
    bool: _FLAG,
    int: _Kind("an int", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: _Kind("a number", _is_number),
    tuple[tuple[str, str], ...]: _Kind("a tuple of (key, value) pairs of str", _are_pairs),
}
_OPTIONS: Mapping[str, _Kind] = {
    **{name: _OF_TYPE[kind] for name, (kind, _) in SETTINGS.items()},
    "endpoint": _TEXT,
    "credentials": _Kind(
        "a source of credentials, with `get` and `invalidate`",
        lambda value: value is None or (hasattr(value, "get") and hasattr(value, "invalidate")),
    ),
    "encoding": _Kind("a str", lambda value: value is None or isinstance(value, str)),
    "retry_failed": _FLAG,
    "wait": _FLAG,
    "stop": _Kind("a Stop", lambda value: value is None or isinstance(value, Stop)),
    "say": _Kind("callable", callable),
    "simulate": _Kind("a bool or a Scenario", _is_scenario),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that there is not, or a value of another type."""
    for name in options:
        if name not in _OPTIONS:
            close = get_close_matches(name, _OPTIONS, 1, 0.5)
            meant = f"; did you mean {close[0]}" if close else ""
            raise TypeError(
                f"a run has no option {name!r}{meant}. There are: {', '.join(_OPTIONS)}"
            )
    for name, value in options.items():
        if not _OPTIONS[name].fits(value):
            raise TypeError(
                f"{name} must be {_OPTIONS[name].words}, not {type(value).__name__} {value!r}"
            )
