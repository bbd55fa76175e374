"""The simulator's own check of a signature: the right ones pass, one changed byte does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchsnap.simulator.auth import verify
from batchsnap.simulator.requests import Refused
from tests.signed import DEFAULT_KEYS, SECRET_ID, signed

AT = 1_767_225_600.0
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tc3.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["input"]["service"] == "cbs"],
                         ids=lambda v: v["name"])  # fmt: skip
def test_published_signatures_are_right(vector: dict[str, Any]) -> None:
    given = vector["input"]
    headers = {
        "host": given["host"],
        "content-type": given["content_type"],
        "Authorization": vector["expected"]["authorization"],
        "X-TC-Timestamp": str(given["timestamp"]),
        **{k.lower(): v for k, v in given["extra_signed_headers"].items()},
        "x-tc-action": given["action"],
    }
    keys = {given["secret_id"]: given["secret_key"]}
    body = bytes.fromhex(given["body_hex"])
    assert verify(headers, body, keys, given["timestamp"]) == given["secret_id"]
    with pytest.raises(Refused, match="SignatureFailure"):
        verify(headers, body + b" ", keys, given["timestamp"])


def refused(change: Callable[[dict[str, str]], object], body: bytes = b"{}") -> str:
    names = {k.lower(): v for k, v in signed("localhost", body=b"{}", at=AT).items()}
    change(names)
    headers = {**names, "Authorization": names["authorization"]}
    headers["X-TC-Timestamp"] = names["x-tc-timestamp"]
    with pytest.raises(Refused) as caught:
        verify(headers, body, DEFAULT_KEYS, AT)
    return caught.value.code


def test_one_changed_byte_breaks_a_signature() -> None:
    def swap(name: str, old: str, new: str) -> Callable[[dict[str, str]], object]:
        return lambda h: h.update({name: h[name].replace(old, new)})

    assert refused(lambda h: None, b"[]") == "AuthFailure.SignatureFailure"
    for change in (
        swap("host", "localhost", "localhosu"),
        swap("content-type", "json", "jsom"),
        swap("x-tc-timestamp", "1767225600", "1767225601"),
        swap("authorization", "2026-01-01", "2026-01-02"),
        swap("authorization", "/cbs/", "/cvm/"),
        lambda h: h.pop("host"),
        lambda h: h.update(authorization=h["authorization"][:-1]),
    ):
        assert refused(change) == "AuthFailure.SignatureFailure"
    assert refused(swap("authorization", SECRET_ID, "AKIDother")) == "AuthFailure.SecretIdNotFound"
    for change in (
        swap("authorization", "content-type;host", "host"),
        swap("authorization", "content-type;host", "host;content-type"),
        swap("authorization", "TC3-", "TC4-"),
    ):
        assert refused(change) == "AuthFailure.InvalidAuthorization"
