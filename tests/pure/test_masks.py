"""What a reply echoes of our secrets is masked, however it is spelt."""

from __future__ import annotations

import orjson
import pytest

from batchsnap.cloud.faults import MASK, masked, rule
from batchsnap.cloud.tc3 import Credential
from batchsnap.model import Reply

TOKEN = "tok/en-" + "0123456789" * 60  # longer than any text of ours
KEY = "made-up-secret-key-1"
SECRETS = Credential("AKIDmadeupmadeup", KEY, TOKEN, "env").secrets


def body(**response: object) -> bytes:
    return orjson.dumps({"Response": response})


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("escaped", [False, True])
def test_no_text_holds_a_secret(secret: str, escaped: bool) -> None:
    error = {"Code": f"Bad.{secret}", "Message": "m" * 300 + f" {secret}"}
    echoed = body(Error=error, RequestId=secret)
    if escaped:
        spelt = f"\\u{ord(secret[0]):04x}{secret[1:]}"
        echoed = echoed.replace(secret.encode(), spelt.encode())
        assert secret.encode() not in echoed
    ruling = rule(Reply(200, masked(echoed, SECRETS), None, 1.0), doubted=False)
    told = f"{ruling.code} {ruling.message} {ruling.request_id}"
    assert told.count(MASK) == 3
    assert secret[:20] not in told


def test_a_slash_may_be_escaped() -> None:
    echoed = body(RequestId=TOKEN).replace(b"/", b"\\/")
    assert TOKEN[-20:].encode() not in masked(echoed, SECRETS)


def test_an_id_that_holds_a_secret_is_no_id() -> None:
    reply = Reply(200, masked(body(SnapshotId=f"snap-{KEY}"), SECRETS), None, 1.0)
    assert rule(reply, doubted=False).code == "reply.no_snapshot_id"


@pytest.mark.parametrize("plain", [b"{}", b"<html>", b"\\", b'{"a":"short"}'])
def test_the_rest_stays_as_it_is(plain: bytes) -> None:
    assert masked(plain, ("short", "", *SECRETS)) == plain
