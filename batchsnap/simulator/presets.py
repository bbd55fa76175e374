"""Owns the scenarios that have a name, and the reading of one that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchsnap.errors import UsageError
from batchsnap.simulator.scenario import Scenario

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
