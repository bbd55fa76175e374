"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from batchsnap.cli.output import set_log_format

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


DURATION = Duration()
KEY_VALUE = KeyValue()

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(*names: str, **details: Any) -> Decorator:
    """A click option that is also read from `BATCHSNAP_<NAME>`."""
    longest = max((n for n in names if n.startswith("--")), key=len)
    name = longest.partition("/")[0].lstrip("-").replace("-", "_").upper()
    details.setdefault("envvar", f"BATCHSNAP_{name}")
    details.setdefault("show_envvar", False)
    return click.option(*names, **details)


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
        option("--profile", metavar="NAME", help="Credentials of ~/.tccli/NAME.credential."),
        option("--timeout", "timeout_s", type=DURATION, help="For one request. [default: 30s]"),
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
        option("-q", "--quiet", is_flag=True, help="No progress, only what went wrong."),
    )
