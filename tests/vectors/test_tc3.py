"""The signature: published vectors stage by stage, and the published SDK as an oracle."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.common import abstract_client
from tencentcloud.common.sign import Sign

from batchsnap.cloud import tc3

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "tc3.json").read_text(encoding="utf8")
)["vectors"]


def _signature(key: bytes, to_sign: str) -> str:
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def stages(given_: dict[str, Any]) -> dict[str, Any]:
    """Every stage of a vector, by the vector's own names of them."""
    headers = {
        "Content-Type": given_["content_type"],
        "Host": given_["host"],
        **given_["extra_signed_headers"],
    }
    date = tc3.date_of(given_["timestamp"] // DAY_S)
    payload = tc3.payload_hash(bytes.fromhex(given_["body_hex"]))
    canonical = tc3.canonical_request(
        method=given_["method"],
        path=given_["path"],
        query=given_["query"],
        headers=headers,
        hashed_payload=payload,
    )
    scope = tc3.credential_scope(date, given_["service"])
    hashed = tc3.payload_hash(canonical.encode())
    to_sign = tc3.string_to_sign(given_["timestamp"], scope, hashed)
    of_date, of_service, signing = tc3.signing_keys(given_["secret_key"], date, given_["service"])
    signed = _signature(signing, to_sign)
    names = canonical.splitlines()[-2]
    return {
        "date": date,
        "credential_scope": scope,
        "signed_headers": names,
        "payload_sha256": payload,
        "canonical_request": canonical,
        "canonical_request_sha256": hashed,
        "string_to_sign": to_sign,
        "secret_date_hex": of_date.hex(),
        "secret_service_hex": of_service.hex(),
        "secret_signing_hex": signing.hex(),
        "signature": signed,
        "authorization": tc3.authorization(
            secret_id=given_["secret_id"], scope=scope, names=names, signed=signed
        ),
    }


@pytest.mark.parametrize(
    ("vector", "stage"),
    [pytest.param(v, stage, id=f"{v['name']}-{stage}") for v in VECTORS for stage in v["expected"]],
)
def test_stage(vector: dict[str, Any], stage: str) -> None:
    assert stages(vector["input"])[stage] == vector["expected"][stage]


SIGNED_AS_WE_DO = [
    v
    for v in VECTORS
    if v["input"]["method"] == "POST"
    and v["input"]["content_type"] == tc3.CONTENT_TYPE
    and not v["input"]["extra_signed_headers"]
]


@pytest.mark.parametrize("vector", SIGNED_AS_WE_DO, ids=lambda v: v["name"])
def test_sign_takes_the_same_steps(vector: dict[str, Any]) -> None:
    given_ = vector["input"]
    signed = _sign(
        given_["secret_id"],
        given_["secret_key"],
        given_["token"] or "",
        given_["timestamp"],
        bytes.fromhex(given_["body_hex"]),
        host=given_["host"],
        region=given_["region"],
        action=given_["action"],
    )
    headers = dict(signed.headers)
    assert headers["Authorization"] == vector["expected"]["authorization"]
    assert headers["X-TC-Region"] == given_["region"]
    assert headers["X-TC-Timestamp"] == str(given_["timestamp"])
    assert headers.get("X-TC-Token") == given_["token"]


def test_there_are_vectors_for_sign() -> None:
    assert len(SIGNED_AS_WE_DO) >= 3


DAY_S = 86_400
MIDNIGHT = 1_767_225_600  # 2026-01-01T00:00:00Z
TIMES = st.one_of(
    st.integers(0, 4_102_444_800),
    st.integers(-2, 2).map(lambda s: MIDNIGHT + s),
    st.tuples(st.integers(0, 40_000), st.integers(-2, 2)).map(
        lambda d: max(0, d[0] * DAY_S + d[1])
    ),
)
KEYS = st.text("ABCDEFabcdef0123456789*", min_size=1, max_size=40)


@given(
    KEYS,
    KEYS,
    TIMES,
    st.text(max_size=60).map(lambda t: json.dumps({"Name": t}, ensure_ascii=False)),
)
def test_the_sdk_signs_alike(secret_id: str, secret_key: str, timestamp: int, text: str) -> None:
    body = text.encode("utf8", "replace")
    host = "cbs.intl.tencentcloudapi.com"
    request = abstract_client.RequestInternal(host, "POST", "/")
    request.header["Content-Type"] = "application/json"
    request.header["Host"] = host
    request.header["X-TC-Timestamp"] = str(timestamp)
    request.data = body
    date = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
    client = object.__new__(abstract_client.AbstractClient)
    theirs = client._get_tc3_signature({}, request, date, "cbs", secret_key)

    signed = _sign(secret_id, secret_key, "", timestamp, body, host=host)

    assert dict(signed.headers)["Authorization"] == (
        f"TC3-HMAC-SHA256 Credential={secret_id}/{date}/cbs/tc3_request, "
        f"SignedHeaders=content-type;host, Signature={theirs}"
    )


@given(KEYS, st.text(max_size=30), TIMES)
def test_the_sdk_derives_the_same_key(secret_key: str, to_sign: str, timestamp: int) -> None:
    to_sign = to_sign.encode("utf8", "replace").decode()
    date = tc3.date_of(timestamp // DAY_S)
    key = tc3.signing_keys(secret_key, date, "cbs")[2]
    assert _signature(key, to_sign) == Sign.sign_tc3(secret_key, date, "cbs", to_sign)


def test_the_same_second_is_signed_anew_for_each_key() -> None:
    one = _sign("id", "key1", "", MIDNIGHT, b"{}")
    two = _sign("id", "key2", "", MIDNIGHT, b"{}")
    day = _sign("id", "key1", "", MIDNIGHT - 1, b"{}")
    assert len({dict(s.headers)["Authorization"] for s in (one, two, day)}) == 3


def test_a_repr_shows_no_secret() -> None:
    credential = tc3.Credential("AKIDsecretid", "secretkey", "secrettoken", "profile:x", 5.0)
    request = _sign("AKIDsecretid", "secretkey", "secrettoken", MIDNIGHT, b'{"secret":1}')
    for text in (repr(credential), str(credential), f"{credential}", repr([credential])):
        assert "secret" not in text
        assert "profile:x" in text
    assert "secret" not in repr(request)
    assert "Signature" not in repr(request)


def _sign(
    secret_id: str,
    secret_key: str,
    token: str,
    timestamp: int,
    body: bytes,
    *,
    host: str = "cbs.intl.tencentcloudapi.com",
    region: str = "ap-guangzhou",
    action: str = "CreateSnapshot",
) -> tc3.SignedRequest:
    return tc3.sign(
        url=f"https://{host}",
        host=host,
        action=action,
        version="2017-03-12",
        region=region,
        body=body,
        timestamp=timestamp,
        credential=tc3.Credential(secret_id, secret_key, token, "test", None),
    )
