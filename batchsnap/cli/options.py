"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from batchsnap.cli.output import fail_softly, note, set_log_format, set_quiet

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])?")


class Duration(click.ParamType[float]):
    """`90`, `90s`, `30m`, `1h30m`, `30d` -> seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        parts = _DURATION.findall(text)
        if not parts or "".join(n + u for n, u in parts) != text:
            self.fail(f"{text!r} is no duration: write 90s, 30m, 1h30m or 30d", param, ctx)
        return sum(float(n) * _UNITS_S[u or "s"] for n, u in parts)


class KeyValue(click.ParamType[tuple[str, str]]):
    """`K=V` -> (K, V)."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is no K=V", param, ctx)
        return key.strip(), text.strip()

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """A tag may hold spaces, so a variable holds one a line."""
        return [line for line in map(str.strip, rv.splitlines()) if line]


class Region(click.ParamType[str]):
    """A region's id; those known are completed, and any is taken: new ones come."""

    name = "region"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from batchsnap.manifest.cells import KNOWN_REGIONS

        return [CompletionItem(region) for region in KNOWN_REGIONS if region.startswith(incomplete)]


class Profile(click.ParamType[str]):
    """A profile's name; those of ~/.tccli are completed."""

    name = "profile"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        folder = Path(os.environ.get("HOME", "/nonexistent")) / ".tccli"
        names = sorted(path.stem for path in folder.glob("*.credential"))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


MANIFEST = click.Path(allow_dash=True)
"""Completed as a file, and nothing more: whoever opens it says what is wrong with it."""

DURATION = Duration()
KEY_VALUE = KeyValue()

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def ledger_argument() -> Decorator:
    """LEDGER, or the manifest that it lies beside."""
    return click.argument("ledger", type=click.Path(), metavar="LEDGER", callback=_ledger_meant)


def _ledger_meant(_ctx: click.Context, _param: click.Parameter, given: str) -> str:
    """The ledger that a text means: itself, or of a manifest the newest that lies beside it."""
    path = Path(given)
    try:
        with path.open("rb") as file:
            if b'"crc":' in file.readline(1 << 18):
                return given
    except OSError:
        if path.suffix == ".jsonl" or path.exists():
            return given  # whoever opens it says what is wrong
    if "://" in given or not path.absolute().parent.is_dir():
        return given
    from batchsnap.ledger.file import series_beside

    for kind in ("", ".simulated"):
        newest = series_beside(Path(f"{given}{kind}.ledger.jsonl")).newest
        if newest.exists():
            note(f"ledger {path.with_name(newest.name)}")
            return str(path.with_name(newest.name))
    return given


_PREFIX = "BATCHSNAP_"
_OTHERS = frozenset({"BATCHSNAP_CRASH", "BATCHSNAP_STALL", "BATCHSNAP_STOP"})  # of the tests
_read: dict[str, str] = {}  # option -> the variable that its value came from


class Option(click.Option):
    """One that is also read from the environment, and then says so where it is wrong."""

    def consume_value(
        self, ctx: click.Context, opts: Any
    ) -> tuple[Any, click.core.ParameterSource]:
        value, source = super().consume_value(ctx, opts)
        if source is click.core.ParameterSource.ENVIRONMENT:
            _read.update(dict.fromkeys(self.opts, str(self.envvar)))
        return value, source

    def get_error_hint(self, ctx: click.Context | None) -> str:
        hint = super().get_error_hint(ctx)
        variable = next((_read[name] for name in self.opts if name in _read), "")
        return f"{hint} (from {variable})" if variable else hint


class Command(click.Command):
    """Names each variable that looks like an option of ours and is none, once."""

    def invoke(self, ctx: click.Context) -> Any:
        for text in unknown_variables(os.environ):
            fail_softly(text)
        return super().invoke(ctx)


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """`click.command` of ours."""
    return click.command(name, cls=Command)


def origin(text: str) -> str:
    """Where the option that `text` is about was read from, to be said after it, or ""."""
    for name in re.findall(r"--[a-z][a-z-]*", text):
        if name in _read:
            return f" ({name} comes from {_read[name]})"
    return ""


def unknown_variables(environ: Any) -> list[str]:
    """What to say about BATCHSNAP_* variables that no command reads."""
    ours = sorted(name for name in environ if name.startswith(_PREFIX) and name not in _OTHERS)
    if not ours:
        return []
    from difflib import get_close_matches

    from batchsnap.cli.main import every_option

    known = {str(each.envvar) for each in every_option() if each.envvar}
    said = []
    for name in ours:
        if name in known:
            continue
        near = get_close_matches(name, known, 1, 0.8)
        meant = f": did you mean {near[0]}?" if near else ", so it does nothing"
        said.append(f"{name} is read by no option{meant}")
    return said


def option(*names: str, **details: Any) -> Decorator:
    """A click option that is also read from `BATCHSNAP_<NAME>`."""
    longest = max((n for n in names if n.startswith("--")), key=len)
    name = longest.partition("/")[0].lstrip("-").replace("-", "_").upper()
    details.setdefault("envvar", f"{_PREFIX}{name}")
    details.setdefault("show_envvar", False)
    return click.option(*names, cls=Option, **details)


_TAKES: dict[Any, dict[str, Any]] = {
    bool: {"is_flag": True, "default": None},
    float: {"type": float},
    int: {"type": int},
    str: {},
    tuple[tuple[str, str], ...]: {"type": KEY_VALUE, "multiple": True},
}


def setting(name: str, help: str, **details: Any) -> Decorator:
    """The option that gives a setting: what it is called, takes and tells as its default are those
    of `Settings`, which also checks it. Not given, it is None, or () of many."""
    from batchsnap.settings import SETTINGS, is_duration, option_of, shown

    kind, default = SETTINGS[name]
    takes = {"type": DURATION} if is_duration(name) else _TAKES[kind]
    if default:
        help = f"{help} [default: {shown(name, default)}]"
    return option(option_of(name), name, help=help, **{**takes, **details})


def given_of(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that this command gives, whatever the ledger says."""
    from batchsnap.settings import SETTINGS

    return {name: options[name] for name in SETTINGS if options.get(name) not in {None, ()}}


def stacked(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in the order in which help shows them."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _endpoint(_context: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from batchsnap.cloud.endpoints import named

    return named(value) if value else value


def cloud_options() -> Decorator:
    """How to reach the cloud."""
    return stacked(
        option(
            "--endpoint",
            metavar="URL",
            callback=_endpoint,
            help="Of the API: intl, mainland, internal (no internet needed), regional (each "
            "region's host has its own quota), or https://HOST, which may hold {region}. "
            "[default: intl]",
        ),
        setting(
            "profile", "Credentials of ~/.tccli/NAME.credential.", type=Profile(), metavar="NAME"
        ),
        setting("timeout_s", "For one request."),
    )


def verbosity() -> Decorator:
    """-v, -q, --log-format."""
    return stacked(
        option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            callback=set_log_format,
            expose_value=False,
            help="Of what is said on stderr.",
        ),
        option("-v", "--verbose", count=True, help="Say why rows wait or fail; -vv: all."),
        option(
            "-q",
            "--quiet",
            is_flag=True,
            callback=set_quiet,
            help="Only what went wrong; nothing on success.",
        ),
    )
