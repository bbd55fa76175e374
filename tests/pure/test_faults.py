"""What replies and faults mean: every published code, every family, every way to be no answer."""

from __future__ import annotations

from functools import partial

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsnap.cloud import actions
from batchsnap.cloud.codes import CODES, FAMILIES, OURS
from batchsnap.cloud.faults import MASK, hint, read_ruling, rule
from batchsnap.model import Fault, FaultKind, Reply, Ruling, Scope, Verdict


def words(text: str) -> list[str]:
    return text.split()


# The page of CreateSnapshot, its list of errors.
OF_THE_ACTION = words("""
InsufficientSnapshotQuota InternalError.ComponentError InternalError.ResourceOpFailed
InvalidAccount.InsufficientBalance InvalidDisk.Busy InvalidDisk.NotSupportSnapshot
InvalidDisk.NotSupported InvalidDisk.SnapshotCreating InvalidDisk.TypeError InvalidDiskId.NotFound
InvalidParameter.InvalidClientToken InvalidParameter.ProjectIdNotExist
LimitExceeded.InstanceAttachedDisk MissingParameter ResourceBusy ResourceInUse
ResourceInUse.DiskMigrating ResourceInUse.DiskRollbacking ResourceInsufficient.OverQuota
ResourceNotFound.NotFound ResourceUnavailable.DiskBackupCreating
ResourceUnavailable.DiskSnapshotChainTooLarge ResourceUnavailable.NotSupported
ResourceUnavailable.SnapshotCreating ResourceUnavailable.TooManyCreatingSnapshot
UnsupportedOperation.DiskEncrypt
""")
# The page of CopySnapshotCrossRegions, what is new in its list.
OF_COPIES = words("""
InvalidSnapshotId.NotFound ResourceInUse.CopySnapshotConflict
UnsupportedOperation.SnapshotNotSupportCopy
""")
# The product's error codes in the published SDK that can come from this action.
OF_THE_PRODUCT = words("""
InvalidDisk.Expire ResourceUnavailable.Expire ResourceUnavailable.RepeatRefund
InvalidParameterValue InvalidParameterValue.LimitExceeded UnsupportedOperation
UnsupportedOperation.StateError ResourceUnavailable.NotSupportSnapshot
UnsupportedOperation.ShareDiskNotSupportSnap LimitExceeded.TagQuotaLimitExceeded TradeDealConflict
InternalError.FailQueryResource OperationDenied.AccountSecurityRisk
UnauthorizedOperation.NotCertification UnauthorizedOperation.NotHavePaymentRight
UnauthorizedOperation.RoleNotExists UnauthorizedOperation.InvalidToken
UnauthorizedOperation.MFAExpired UnauthorizedOperation.AuthFailure
""")
# The page of common error codes.
COMMON = words("""
RequestLimitExceeded RequestLimitExceeded.UinLimitExceeded
RequestLimitExceeded.GlobalRegionUinLimitExceeded RequestLimitExceeded.IPLimitExceeded
AuthFailure AuthFailure.SignatureExpire AuthFailure.SignatureFailure
AuthFailure.InvalidAuthorization AuthFailure.InvalidSecretId AuthFailure.SecretIdNotFound
AuthFailure.MFAFailure AuthFailure.TokenFailure AuthFailure.UnauthorizedOperation
UnauthorizedOperation InternalError FailedOperation ServiceUnavailable ResourceInUse
ResourceUnavailable ResourceInsufficient LimitExceeded ResourceNotFound UnsupportedOperation
InvalidParameter InvalidParameterValue MissingParameter UnknownParameter InvalidRequest
RequestSizeLimitExceeded ResponseSizeLimitExceeded DryRunOperation ActionOffline InvalidAction
NoSuchProduct NoSuchVersion UnsupportedProtocol UnsupportedRegion IpInBlacklist IpNotInWhitelist
""")

_V = Verdict


def reply(response: object, status: int = 200) -> Reply:
    return Reply(status, orjson.dumps({"Response": response}), None, 1.0)


def refusal(code: object, message: object = "why", **more: object) -> Reply:
    return reply({"Error": {"Code": code, "Message": message}, "RequestId": "req-1", **more})


@pytest.mark.parametrize("code", sorted({*OF_THE_ACTION, *OF_COPIES, *OF_THE_PRODUCT, *COMMON}))
def test_every_published_code_has_a_row_and_a_remedy(code: str) -> None:
    meaning = CODES[code]
    reaching = {Verdict.HALT, Verdict.SUSPECT}
    assert meaning.scope is None or meaning.verdict in reaching | {Verdict.REJECTED}
    assert meaning.scope is not None or meaning.verdict not in reaching
    assert meaning.verdict not in {Verdict.ACCEPTED, Verdict.TRANSIENT}
    assert hint(code) == meaning.hint
    assert 10 < len(meaning.hint) < 150
    ruling = rule(refusal(code), doubted=False)
    assert (ruling.verdict, ruling.scope) == (meaning.verdict, meaning.scope)
    assert (ruling.code, ruling.message, ruling.request_id) == (code, "why", "req-1")


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AuthFailure.UnauthorizedOperation"])
def test_the_remedy_of_a_denial_grants_both_spellings(code: str) -> None:
    for action in ("CreateSnapshot", "DescribeSnapshots", "DescribeDisks"):
        assert f"cvm:{action}" in hint(code)
        assert f"cbs:{action}" in hint(code)


@pytest.mark.parametrize(
    ("code", "verdict", "scope"),
    [
        ("RequestLimitExceeded", _V.THROTTLED, None),
        ("RequestLimitExceeded.New", _V.THROTTLED, None),
        ("InvalidDisk.Busy", _V.BUSY, None),
        ("ResourceBusy.New", _V.BUSY, None),
        ("ResourceInUse.New", _V.BUSY, None),
        ("ResourceUnavailable.TooManyCreatingSnapshot", _V.BACKPRESSURE, None),
        ("InternalError", _V.IN_DOUBT, None),
        ("InternalError.New", _V.IN_DOUBT, None),
        ("FailedOperation.New", _V.IN_DOUBT, None),
        ("ServiceUnavailable.New", _V.IN_DOUBT, None),
        ("LimitExceeded.TagQuotaLimitExceeded", _V.IN_DOUBT, None),
        ("InvalidDiskId.NotFound", _V.REJECTED, Scope.REGION),
        ("InvalidDisk.New", _V.REJECTED, None),
        ("InvalidSomething.New", _V.REJECTED, Scope.REGION),
        ("InvalidSnapshotId.NotFound", _V.REJECTED, Scope.REGION),
        ("UnsupportedOperation.New", _V.REJECTED, None),
        ("OperationDenied.New", _V.REJECTED, Scope.REGION),
        ("OperationDenied.AccountSecurityRisk", _V.HALT, Scope.ACCOUNT),
        ("InvalidAccount.New", _V.SUSPECT, Scope.ACCOUNT),
        ("InvalidAccount.InsufficientBalance", _V.HALT, Scope.ACCOUNT),
        ("AuthFailure.New", _V.SUSPECT, Scope.ACCOUNT),
        ("AuthFailure.SignatureExpire", _V.HALT, Scope.ACCOUNT),
        ("AuthFailure.TokenFailure", _V.HALT, Scope.ACCOUNT),
        ("UnauthorizedOperation.New", _V.SUSPECT, Scope.ACCOUNT),
        ("InvalidAction", _V.HALT, Scope.ACCOUNT),
        ("InsufficientSnapshotQuota", _V.SUSPECT, Scope.REGION),
        ("UnsupportedRegion", _V.HALT, Scope.REGION),
        ("LimitExceeded.New", _V.SUSPECT, Scope.REGION),
    ],
)
@pytest.mark.parametrize("doubted", [False, True])
def test_codes_and_families(
    code: str, verdict: Verdict, scope: Scope | None, doubted: bool
) -> None:
    ruling = rule(refusal(code), doubted=doubted)
    assert (ruling.verdict, ruling.scope) == (verdict, scope)
    assert hint(code)


CERTAIN = words("""
InvalidAccount.InsufficientBalance OperationDenied.AccountSecurityRisk
UnauthorizedOperation.NotCertification UnauthorizedOperation.NotHavePaymentRight
UnauthorizedOperation.RoleNotExists UnauthorizedOperation.InvalidToken
UnauthorizedOperation.MFAExpired UnauthorizedOperation.AuthFailure
AuthFailure AuthFailure.SignatureExpire AuthFailure.SignatureFailure
AuthFailure.InvalidAuthorization AuthFailure.InvalidSecretId AuthFailure.SecretIdNotFound
AuthFailure.MFAFailure AuthFailure.TokenFailure
ActionOffline InvalidAction NoSuchProduct NoSuchVersion UnsupportedProtocol UnsupportedRegion
IpInBlacklist IpNotInWhitelist
""")


def test_what_halts_at_the_first_answer_can_only_mean_the_scope() -> None:
    assert {c for c, meaning in CODES.items() if meaning.verdict is _V.HALT} == set(CERTAIN)


@pytest.mark.parametrize("code", ["Strange", "Strange.Thing", "requestlimitexceeded", "."])
def test_a_code_of_no_family_is_settled_once(code: str) -> None:
    assert rule(refusal(code), doubted=False).verdict is Verdict.IN_DOUBT
    assert rule(refusal(code), doubted=True).verdict is Verdict.REJECTED
    assert hint(code)


@pytest.mark.parametrize(
    "code",
    words("""
InvalidDisk.SnapshotCreating ResourceUnavailable.SnapshotCreating
ResourceInUse.CopySnapshotConflict
"""),
)
def test_a_running_snapshot_may_be_ours(code: str) -> None:
    assert rule(refusal(code), doubted=False).verdict is Verdict.BUSY
    assert rule(refusal(code), doubted=True).verdict is Verdict.IN_DOUBT


def test_accepted() -> None:
    ruling = rule(reply({"SnapshotId": "snap-1", "RequestId": "req-1"}), doubted=False)
    assert ruling == (Verdict.ACCEPTED, "", "", "req-1", "snap-1", None)
    assert (
        rule(reply({"SnapshotId": "snap-1", "Error": None}), doubted=True).snapshot_id == "snap-1"
    )


TO = "ap-beijing"


def copied(**item: object) -> Ruling:
    other = {"DestinationRegion": "ap-tokyo", "Code": "Success", "SnapshotId": "snap-tokyo"}
    items = [other, {"DestinationRegion": TO, **item}]
    said = reply({"SnapshotCopyResultSet": items, "RequestId": "req-1"})
    return rule(said, doubted=False, made=partial(actions.copied, to=TO))


def test_a_copy_is_judged_by_the_answer_of_its_own_destination() -> None:
    done = copied(Code="Success", SnapshotId="snap-1", Message="")
    assert done == (Verdict.ACCEPTED, "", "", "req-1", "snap-1", None)
    full = copied(Code="InsufficientSnapshotQuota", SnapshotId="", Message="full")
    assert (full.verdict, full.scope) == (Verdict.SUSPECT, Scope.REGION)
    assert (full.code, full.message, full.request_id) == (
        "InsufficientSnapshotQuota",
        "full",
        "req-1",
    )
    odd = copied(Code="InsufficientSnapshotQuota", SnapshotId="snap-1")
    assert (odd.verdict, odd.snapshot_id) == (Verdict.IN_DOUBT, "")


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"SnapshotId": "snap-1"},
        {"SnapshotCopyResultSet": None},
        {"SnapshotCopyResultSet": {}},
        {"SnapshotCopyResultSet": [None, "text", {}]},
        {"SnapshotCopyResultSet": [{"DestinationRegion": TO}]},
        {"SnapshotCopyResultSet": [{"DestinationRegion": TO, "SnapshotId": "snap-1"}]},
        {"SnapshotCopyResultSet": [{"DestinationRegion": TO, "Code": "Success"}]},
        {"SnapshotCopyResultSet": [{"DestinationRegion": TO, "Code": 7, "SnapshotId": None}]},
        {"SnapshotCopyResultSet": [{"DestinationRegion": "x", "Code": "Success"}]},
    ],
)
def test_an_answer_that_does_not_tell_of_the_destination_is_a_doubt(response: object) -> None:
    ruling = rule(reply(response), doubted=False, made=partial(actions.copied, to=TO))
    assert (ruling.verdict, ruling.code) == (Verdict.IN_DOUBT, "reply.no_copy")


def test_a_refusal_that_names_a_snapshot_is_a_doubt() -> None:
    ruling = rule(refusal("InvalidDisk.Busy", SnapshotId="snap-1"), doubted=False)
    assert (ruling.verdict, ruling.scope, ruling.snapshot_id) == (Verdict.IN_DOUBT, None, "")


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Reply(200, b"", None, 1.0), "reply.not_json"),
        (Reply(200, b"<html>", None, 1.0), "reply.not_json"),
        (Reply(200, b'{"Response"', None, 1.0), "reply.not_json"),
        (Reply(200, b"\xff\xfe", None, 1.0), "reply.not_json"),
        (Reply(200, b"[" * 100_000, None, 1.0), "reply.not_json"),
        (Reply(200, b"[]", None, 1.0), "reply.no_response"),
        (Reply(200, b"null", None, 1.0), "reply.no_response"),
        (Reply(200, b"{}", None, 1.0), "reply.no_response"),
        (reply(None), "reply.no_response"),
        (reply([]), "reply.no_response"),
        (reply({}), "reply.no_snapshot_id"),
        (reply({"SnapshotId": None}), "reply.no_snapshot_id"),
        (reply({"SnapshotId": ""}), "reply.no_snapshot_id"),
        (reply({"SnapshotId": ["snap-1"]}), "reply.no_snapshot_id"),
        (reply({"Error": "text"}), "reply.no_code"),
        (reply({"Error": {}}), "reply.no_code"),
        (refusal(None), "reply.no_code"),
        (refusal(5), "reply.no_code"),
        (reply({"SnapshotId": "snap-1"}, 500), "http.500"),
        (reply({"SnapshotId": "snap-1"}, 201), "http.201"),
        (reply({"SnapshotId": "snap-1"}, 302), "http.302"),
        (refusal("RequestLimitExceeded")._replace(status=429), "http.429"),
    ],
)
@pytest.mark.parametrize("doubted", [False, True])
def test_no_answer_is_a_doubt(outcome: Reply, code: str, doubted: bool) -> None:
    ruling = rule(outcome, doubted=doubted)
    assert (ruling.verdict, ruling.code, ruling.snapshot_id) == (Verdict.IN_DOUBT, code, "")
    assert ruling.message
    assert hint(code)


@pytest.mark.parametrize("kind", list(FaultKind))
@pytest.mark.parametrize("doubted", [False, True])
def test_faults(kind: FaultKind, doubted: bool) -> None:
    before = rule(Fault(kind, False, "why", 1.0), doubted=doubted)
    after = rule(Fault(kind, True, "why", 1.0), doubted=doubted)
    lasting = rule(Fault(kind, False, "why", 1.0, lasting=True), doubted=doubted)
    assert before.verdict is Verdict.TRANSIENT
    assert after.verdict is Verdict.IN_DOUBT
    assert (lasting.verdict, lasting.scope) == (Verdict.HALT, Scope.REGION)
    assert (before.code, before.message) == (f"fault.{kind.value}", "why")
    assert hint(before.code) == OURS[f"fault.{kind.value}"]


def test_an_id_that_held_a_secret_is_none() -> None:
    ruling = rule(reply({"SnapshotId": f"snap-{MASK}"}), doubted=False)
    assert (ruling.verdict, ruling.code) == (Verdict.IN_DOUBT, "reply.no_snapshot_id")


def test_the_other_side_s_text_is_bounded_and_printable() -> None:
    ruling = rule(refusal("A.b\x1b[2J", "m\n\x07" + "x" * 9_999), doubted=False)
    assert len(ruling.message) == 500
    assert (ruling.code + ruling.message).isprintable()
    assert len(rule(refusal("c" * 9_999), doubted=False).code) < 200
    assert rule(reply({"SnapshotId": "s", "RequestId": 5}), doubted=False).request_id == ""


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (reply({"TotalCount": 0}), "ok"),
        (refusal("UnauthorizedOperation"), "denied"),
        (refusal("AuthFailure.UnauthorizedOperation"), "denied"),
        (refusal("InvalidAction"), "denied"),
        (refusal("UnsupportedRegion"), "denied"),
        (refusal("RequestLimitExceeded.New"), "throttled"),
        (refusal("InternalError.New"), "temporary"),
        (refusal("LimitExceeded"), "temporary"),
        (refusal("ResourceInsufficient"), "temporary"),
        (refusal("Strange"), "temporary"),
        (refusal("InvalidParameterValue"), "invalid"),
        (refusal("InvalidSnapshotId.NotFound"), "invalid"),
        (Reply(502, b"<html>", None, 1.0), "temporary"),
        (Reply(200, b"<html>", None, 1.0), "temporary"),
        (Fault(FaultKind.TIMEOUT, True, "why", 1.0), "temporary"),
        (Fault(FaultKind.DNS, False, "why", 1.0), "temporary"),
        (Fault(FaultKind.REFUSED, False, "why", 1.0, lasting=True), "denied"),
    ],
)
def test_read_ruling(outcome: Reply | Fault, kind: str) -> None:
    ruling = read_ruling(outcome)
    assert ruling.kind == kind
    assert (ruling.response == {"TotalCount": 0}) == (kind == "ok")
    assert bool(ruling.code) == (kind != "ok")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Response", "Error", "Code", "Message", "SnapshotId", "RequestId"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON.map(orjson.dumps) | st.binary(max_size=40), st.booleans())
def test_nothing_raises_and_only_an_id_is_accepted(body: bytes, doubted: bool) -> None:
    ruling = rule(Reply(200, body, None, 1.0), doubted=doubted)
    assert (ruling.verdict is Verdict.ACCEPTED) == bool(ruling.snapshot_id)
    read_ruling(Reply(200, body, None, 1.0))


def test_the_families_say_what_to_do() -> None:
    assert all(meaning.hint for meaning in FAMILIES.values())
    assert hint("") == ""
    assert hint("credentials")
