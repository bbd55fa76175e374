"""A reply that echoes what it was asked with: known secrets are masked before anything reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

MASK = "[masked]"
SECRET_MIN = 16  # characters; shorter ones would be found in words that are none


def masked(body: bytes, secrets: Iterable[str]) -> bytes:
    """The body with `MASK` for each secret in its texts, however the JSON spells them. What is no
    JSON stays as it is: nothing of it is ever told."""
    known = [secret for secret in secrets if len(secret) >= SECRET_MIN]
    if b"\\" not in body and not any(secret.encode() in body for secret in known):
        return body
    try:
        whole = orjson.loads(body)
    except ValueError:
        return body
    return orjson.dumps(_masked(whole, known))


def _masked(value: Any, known: list[str]) -> Any:
    if isinstance(value, str):
        for secret in known:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, list):
        return [_masked(item, known) for item in value]
    if isinstance(value, dict):
        return {_masked(name, known): _masked(item, known) for name, item in value.items()}
    return value
