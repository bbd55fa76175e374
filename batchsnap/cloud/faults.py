"""What an outcome means: a Ruling on a call that makes a snapshot, a ReadRuling on a question.

A reply may echo what it was asked with: known secrets are masked before anything reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import orjson

from batchsnap.cloud.actions import Creation, created
from batchsnap.cloud.codes import CODES, FAMILIES, INVALID, INVALID_MEANING, OURS, Meaning
from batchsnap.model import Fault, Reply, Ruling, Scope, Verdict

MASK = "[masked]"
SECRET_MIN = 16  # characters; shorter ones would be found in words that are none
_MESSAGE_MAX = 500
_TEXT_MAX = 128  # of codes and ids; the cloud's own are far shorter
_AT_WORK = (".SnapshotCreating", ".CopySnapshotConflict")
_NO_REGION = "UnsupportedRegion"

ReadKind = Literal["ok", "denied", "throttled", "temporary", "invalid"]


class Envelope(NamedTuple):
    """A reply's `Response`: an error (`code` set) or a result."""

    code: str
    message: str
    request_id: str
    response: dict[str, Any]


class ReadRuling(NamedTuple):
    """What a question's outcome means. `denied` will not get better by asking again, `invalid`
    means that the question itself was refused."""

    kind: ReadKind
    code: str
    message: str
    response: dict[str, Any]


def open_envelope(outcome: Reply | Fault) -> Envelope:
    """The Response of an outcome; what is none gets a code of ours: fault.*, http.*, reply.*."""
    if isinstance(outcome, Fault):
        return Envelope(f"fault.{outcome.kind}", _text(outcome.message, _MESSAGE_MAX), "", {})
    if outcome.status != 200:
        return Envelope(f"http.{outcome.status}", f"HTTP status {outcome.status}", "", {})
    try:
        whole = orjson.loads(outcome.body)
    except ValueError:
        return Envelope("reply.not_json", "the body is not JSON", "", {})
    response = whole.get("Response") if isinstance(whole, dict) else None
    if not isinstance(response, dict):
        return Envelope("reply.no_response", "the body has no Response object", "", {})
    request_id = _text(response.get("RequestId"))
    error = response.get("Error")
    if error is None:
        return Envelope("", "", request_id, response)
    if not isinstance(error, dict) or not _text(error.get("Code")):
        return Envelope("reply.no_code", "the Error has no Code", request_id, {})
    message = _text(error.get("Message"), _MESSAGE_MAX)
    return Envelope(_text(error["Code"]), message, request_id, response)


def rule(
    outcome: Reply | Fault,
    *,
    doubted: bool,
    made: Callable[[dict[str, Any]], Creation] = created,
) -> Ruling:
    """The Ruling on a call that makes a snapshot, whose reply `made` reads.

    `doubted`: the row was in doubt before. Then a running snapshot may be ours, and a code that
    nobody knows has been settled once and is a refusal.
    """
    code, message, request_id, response = open_envelope(outcome)
    said = made(response)
    if not code and said.code:
        code, message = _text(said.code), _text(said.message, _MESSAGE_MAX)
    elif not code and MASK not in said.snapshot_id:
        return Ruling(Verdict.ACCEPTED, "", "", request_id, said.snapshot_id, None)
    elif not code:
        code, message = "reply.no_snapshot_id", "the Response has no SnapshotId"
    meaning = _meaning(code, outcome, doubted=doubted)
    if said.snapshot_id:  # a refusal that names a snapshot refutes itself
        meaning = Meaning(Verdict.IN_DOUBT, None, "")
    return Ruling(meaning.verdict, code, message, request_id, "", meaning.scope)


def read_ruling(outcome: Reply | Fault) -> ReadRuling:
    """The ruling on a call that changes nothing."""
    code, message, _, response = open_envelope(outcome)
    if not code:
        return ReadRuling("ok", "", "", response)
    verdict, scope, _ = _meaning(code, outcome, doubted=False)
    kind: ReadKind = "temporary"
    if verdict in {
        Verdict.HALT,
        Verdict.SUSPECT,
    }:  # of a region: a quota of snapshots, which no question uses up
        no_way = scope is Scope.ACCOUNT or code == _NO_REGION or isinstance(outcome, Fault)
        kind = "denied" if no_way else "temporary"
    elif verdict is Verdict.THROTTLED:
        kind = "throttled"
    elif verdict is Verdict.REJECTED:
        kind = "invalid"
    return ReadRuling(kind, code, message, {})


def hint(code: str) -> str:
    """What to do about a code, the cloud's or ours; "" for an unknown one."""
    family = code.partition(".")[0]
    for key in (code, family):
        if key in OURS:
            return OURS[key]
        meaning = CODES.get(key) or FAMILIES.get(key)
        if meaning is not None:
            return meaning.hint
    if code.startswith(INVALID):
        return INVALID_MEANING.hint
    return "an unknown code: read the message, and the cloud's documentation" if code else ""


def remedy(word: str, code: str) -> str:
    """What to do about a row that stands so (a word of `lifecycle.WORD`) for that code. Of one that
    was given up nothing is done any more unless somebody runs again."""
    text = hint(code)
    if word != "gave_up":
        return text
    return "run again: it takes the row up once more" if "again" in text else f"{text}; run again"


def _meaning(code: str, outcome: Reply | Fault, *, doubted: bool) -> Meaning:
    if isinstance(outcome, Fault):
        if outcome.lasting:  # it is the way to this host, which regions may have to themselves
            return Meaning(Verdict.HALT, Scope.REGION, "")
        return Meaning(Verdict.IN_DOUBT if outcome.sent else Verdict.TRANSIENT, None, "")
    if code.partition(".")[0] in {"http", "reply"}:
        return Meaning(Verdict.IN_DOUBT, None, "")
    if code.endswith(_AT_WORK) and doubted:
        return Meaning(Verdict.IN_DOUBT, None, "")
    meaning = CODES.get(code)
    if meaning is None:
        family = code.partition(".")[0]
        meaning = CODES.get(family) or FAMILIES.get(family)
        if meaning is not None and meaning.verdict is Verdict.HALT:
            meaning = meaning._replace(verdict=Verdict.SUSPECT)  # that it means no row is a guess
    if meaning is None and code.startswith(INVALID):
        meaning = INVALID_MEANING
    if meaning is None:
        if doubted:
            return Meaning(Verdict.REJECTED, Scope.REGION, "")
        return Meaning(Verdict.IN_DOUBT, None, "")
    return meaning


def _text(value: object, most: int = _TEXT_MAX) -> str:
    """Text of the other side, bounded and fit for a terminal."""
    text = value[:most] if isinstance(value, str) else ""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def masked(body: bytes, secrets: tuple[str, ...]) -> bytes:
    """The body with `MASK` for each secret in its texts, however the JSON spells them. What is no
    JSON stays as it is: nothing of it is ever told."""
    known = _known(secrets)
    if b"\\" not in body and not any(map(body.__contains__, known)):
        return body
    try:
        whole = orjson.loads(body)
    except ValueError:
        return body
    return orjson.dumps(_masked(whole, [secret.decode() for secret in known]))


@lru_cache(maxsize=256)
def _known(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """Those that are long enough to be told from other words."""
    return tuple(secret.encode() for secret in secrets if len(secret) >= SECRET_MIN)


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
