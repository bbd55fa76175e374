"""Every error code of the API: what it means for the row, how far it reaches, what to do.

Sources: the error list of the CreateSnapshot page, the product's error codes in the published SDK,
and the common error codes page. The classes are our judgement; branch on the code only, for the
cloud declares its messages unstable.
"""

from __future__ import annotations

from typing import NamedTuple

from batchsnap.cloud.actions import policy_names
from batchsnap.model import Scope, Verdict


class Meaning(NamedTuple):
    """A row of the table."""

    verdict: Verdict
    scope: Scope | None  # how far it reaches (HALT), or may reach (SUSPECT, REJECTED)
    hint: str  # the remedy, one short sentence


_V = Verdict
_SUPPORT = "if it stays so, open a ticket with the RequestId"
_BUG = "this is a defect of batchsnap: please report it with the RequestId"


def _throttled(hint: str) -> Meaning:
    return Meaning(_V.THROTTLED, None, hint)


def _busy(hint: str) -> Meaning:
    return Meaning(_V.BUSY, None, hint)


def _doubt(hint: str = f"settled by asking; {_SUPPORT}") -> Meaning:
    return Meaning(_V.IN_DOUBT, None, hint)


def _rejected(hint: str) -> Meaning:
    return Meaning(_V.REJECTED, None, hint)


def _unfit(hint: str) -> Meaning:
    """The row is refused; but where the first rows of a region all are, something else is wrong:
    the account, the region, or the whole manifest."""
    return Meaning(_V.REJECTED, Scope.REGION, hint)


def _perhaps_region(hint: str) -> Meaning:
    return Meaning(_V.SUSPECT, Scope.REGION, hint)


def _perhaps_account(hint: str) -> Meaning:
    return Meaning(_V.SUSPECT, Scope.ACCOUNT, hint)


def _region(hint: str) -> Meaning:
    """Can only mean the region: one such answer halts it. For codes that may mean one disk as
    well there is `_perhaps_region`."""
    return Meaning(_V.HALT, Scope.REGION, hint)


def _account(hint: str) -> Meaning:
    """Can only mean the account, its keys or the endpoint: one such answer halts it."""
    return Meaning(_V.HALT, Scope.ACCOUNT, hint)


_QUOTA = "delete old snapshots of the region or have the snapshot quota raised, then run again"
_KEYS = "check the keys of this profile, then run again"
_NEEDED = policy_names("CreateSnapshot", "DescribeSnapshots", "DescribeDisks")
_POLICY = f"grant {', '.join(_NEEDED)} on *"
_ENDPOINT = "check --endpoint: nothing will work there"
_RUNNING = "a snapshot of this disk is being made; it is waited for"

CODES: dict[str, Meaning] = {
    # the page of CreateSnapshot
    "InsufficientSnapshotQuota": _perhaps_region(_QUOTA),
    "InternalError.ComponentError": _doubt(),
    "InternalError.ResourceOpFailed": _doubt(),
    "InvalidAccount.InsufficientBalance": _account("top up the account, then run again"),
    "InvalidDisk.Busy": _busy("the disk is at work; it is tried again until --retry-for is spent"),
    "InvalidDisk.NotSupportSnapshot": _rejected("take the disk out of the manifest"),
    "InvalidDisk.NotSupported": _rejected("take the disk out of the manifest"),
    "InvalidDisk.SnapshotCreating": _busy(_RUNNING),
    "InvalidDisk.TypeError": _rejected("this type of disk has no snapshots: take it out"),
    "InvalidDiskId.NotFound": _unfit("check the disk id, its region and the account"),
    "InvalidParameter.InvalidClientToken": _unfit(_BUG),
    "InvalidParameter.ProjectIdNotExist": _rejected("the disk's project is gone: assign another"),
    "LimitExceeded.InstanceAttachedDisk": _rejected("the instance has too many disks attached"),
    "MissingParameter": _unfit(_BUG),
    "ResourceBusy": _busy("operations on one instance run one after another; it is tried again"),
    "ResourceInUse": _busy("the resource is in use; it is tried again"),
    "ResourceInUse.DiskMigrating": _busy("the disk is migrating, which can last hours: run again"),
    "ResourceInUse.DiskRollbacking": _busy("the disk is being rolled back: run again after it"),
    "ResourceInsufficient.OverQuota": _perhaps_region(_QUOTA),
    "ResourceNotFound.NotFound": _unfit("check the ids in the row, the region and the account"),
    "ResourceUnavailable.DiskBackupCreating": _busy("the backup point is still being made"),
    "ResourceUnavailable.DiskSnapshotChainTooLarge": _rejected(
        "delete old snapshots of this disk, then run with --retry-failed"
    ),
    "ResourceUnavailable.NotSupported": _rejected("take the disk out of the manifest"),
    "ResourceUnavailable.SnapshotCreating": _busy(_RUNNING),
    "ResourceUnavailable.TooManyCreatingSnapshot": Meaning(
        _V.BACKPRESSURE, None, "the region makes too many snapshots at once; it is given a rest"
    ),
    "UnsupportedOperation.DiskEncrypt": _rejected("this encrypted disk can't be snapshotted"),
    # the page of CopySnapshotCrossRegions
    "InvalidSnapshotId.NotFound": _unfit(
        "the snapshot is not there: was it deleted? Check its id, its region and the account"
    ),
    "ResourceInUse.CopySnapshotConflict": _busy("this snapshot is being copied; tried again"),
    "UnsupportedOperation.SnapshotNotSupportCopy": _rejected(
        "this snapshot can't be copied: is it NORMAL, and not encrypted?"
    ),
    # other codes of the product
    "InvalidDisk.Expire": _rejected("the disk has expired: renew it"),
    "ResourceUnavailable.Expire": _rejected("the resource has expired: renew it"),
    "ResourceUnavailable.RepeatRefund": _rejected("the disk was refunded: take it out"),
    "InvalidParameterValue": _unfit("read the message, mend the row, run with --retry-failed"),
    "InvalidParameterValue.LimitExceeded": _unfit("a value of the row is too long or too many"),
    "UnsupportedOperation": _rejected("the disk does not allow it now: read the message"),
    "UnsupportedOperation.StateError": _busy("the disk's state does not allow it; tried again"),
    "ResourceUnavailable.NotSupportSnapshot": _rejected("take the disk out of the manifest"),
    "UnsupportedOperation.ShareDiskNotSupportSnap": _rejected("shared disks have no snapshots"),
    "LimitExceeded.TagQuotaLimitExceeded": _doubt(
        "the tag service was too busy; settled by asking"
    ),
    "TradeDealConflict": _busy("an order on this disk is under way; it is tried again"),
    "InternalError.FailQueryResource": _doubt(),
    "OperationDenied.AccountSecurityRisk": _account(
        "the account is locked for safety: see console"
    ),
    "UnauthorizedOperation.NotCertification": _account("complete the account's verification"),
    "UnauthorizedOperation.NotHavePaymentRight": _account("give this identity the right to pay"),
    "UnauthorizedOperation.RoleNotExists": _account("the service role is missing: make it"),
    "UnauthorizedOperation.InvalidToken": _account(_KEYS),
    "UnauthorizedOperation.MFAExpired": _account("log in with MFA again, then run again"),
    "UnauthorizedOperation.AuthFailure": _account(_KEYS),
    # common codes
    "RequestLimitExceeded": _throttled("too fast; the gate eases off by itself"),
    "RequestLimitExceeded.UinLimitExceeded": _throttled("the account's other tools use the quota"),
    "RequestLimitExceeded.GlobalRegionUinLimitExceeded": _throttled(
        "the account's other tools use the quota"
    ),
    "RequestLimitExceeded.IPLimitExceeded": _throttled("too many calls from this address"),
    "AuthFailure": _account(_KEYS),
    "AuthFailure.SignatureExpire": _account("this host's clock is wrong: set it (NTP), run again"),
    "AuthFailure.SignatureFailure": _account("the SecretKey does not fit the SecretId"),
    "AuthFailure.InvalidAuthorization": _account(_BUG),
    "AuthFailure.InvalidSecretId": _account("this is no SecretId of the cloud API: check the keys"),
    "AuthFailure.SecretIdNotFound": _account(
        "the SecretId is deleted, disabled or mistyped, or of the other site: try --endpoint intl "
        "or --endpoint mainland"
    ),
    "AuthFailure.MFAFailure": _account("MFA failed: log in again"),
    "AuthFailure.TokenFailure": _account("the temporary key has expired: fetch it anew"),
    "AuthFailure.UnauthorizedOperation": _perhaps_account(_POLICY),
    "UnauthorizedOperation": _perhaps_account(_POLICY),
    "InternalError": _doubt(),
    "FailedOperation": _doubt(),
    "ServiceUnavailable": _doubt(),
    "ResourceUnavailable": _busy("the resource is unavailable; it is tried again"),
    "ResourceInsufficient": _perhaps_region(_QUOTA),
    "LimitExceeded": _perhaps_region("a limit of the region is reached: read the message"),
    "ResourceNotFound": _unfit("check the ids in the row, the region and the account"),
    "InvalidParameter": _unfit("read the message, mend the row, run with --retry-failed"),
    "UnknownParameter": _unfit(_BUG),
    "InvalidRequest": _unfit(_BUG),
    "RequestSizeLimitExceeded": _unfit(_BUG),
    "ResponseSizeLimitExceeded": _unfit(_BUG),
    "DryRunOperation": _unfit(_BUG),
    "ActionOffline": _account(_ENDPOINT),
    "InvalidAction": _account(_ENDPOINT),
    "NoSuchProduct": _account(_ENDPOINT),
    "NoSuchVersion": _account(_ENDPOINT),
    "UnsupportedProtocol": _account(_ENDPOINT),
    "UnsupportedRegion": _region("check the region's id; this endpoint does not serve it"),
    "IpInBlacklist": _account("this address is on the account's blacklist"),
    "IpNotInWhitelist": _account("put this address on the account's allow-list"),
}

NOT_FOUND = frozenset({"InvalidDiskId.NotFound", "ResourceNotFound.NotFound", "ResourceNotFound"})
"""The disk, its region or the account is wrong: what the account sees there tells which."""

QUOTAS = frozenset({"InsufficientSnapshotQuota", "ResourceInsufficient", "LimitExceeded"})
"""Families of quotas: of the region, or of the snapshots of one disk."""

FAMILIES: dict[str, Meaning] = {
    "OperationDenied": _unfit("the cloud does not allow this: read the message"),
    "InvalidAccount": _account("something is wrong with the account: read the message"),
    "InvalidDisk": _rejected("the disk does not allow it: read the message"),
    "InvalidDiskId": _unfit("check the disk id, its region and the account"),
}
"""What an unknown code of a family means, beside the families that are codes themselves."""

INVALID = "Invalid"
INVALID_MEANING = _unfit("read the message, mend the row, run with --retry-failed")
"""Of all other families that begin so: something in the call is wrong, and was found before it
was carried out."""

OURS: dict[str, str] = {
    "fault.dns": "the endpoint's name can't be resolved: check DNS and --endpoint",
    "fault.connect": "no connection to the endpoint: check network, proxy and --endpoint",
    "fault.tls": "TLS failed: check the clock, the proxy and the certificates of this host",
    "fault.certificate": "the host's certificate is not trusted: check the clock, the proxy and "
    "--endpoint; SSL_CERT_FILE names a file of authorities of your own",
    "fault.proxy_auth": "the proxy wants a login: put USER:PASSWORD@ into HTTPS_PROXY",
    "fault.refused_by_us": "plain http goes to loopback only: use https in --endpoint",
    "fault.timeout": "no reply in time; settled by asking",
    "fault.reset": "the connection broke; settled by asking",
    "fault.garbled": "the reply was no HTTP; settled by asking",
    "fault.too_large": "the reply was too large to be the API's; settled by asking",
    "http": "the reply was not the API's (a proxy's?); settled by asking",
    "reply": "the reply was not the API's (a proxy's?); settled by asking",
    "credentials": _KEYS,
    "brake": "an option of yours stopped the run: mend what it met, or give it another value, and "
    "run again",
    "plan.deadline": "give the row a Deadline that is more than a day ahead",
    "plan.backup_unknown": "check the backup point's id, its region and the account",
    "ledger.no_outcome": "run again: it is settled by asking",
    "ledger.lost": "look at the snapshots named in the message; if none is of this run, give the "
    "row another SnapshotName, then run again",
    "ledger.cut": "look at the snapshots named in the message; if none is of this run, give the "
    "row another SnapshotName and run with --retry-failed",
    "settle": "run again, or look at the disk's snapshots in the console",
}
"""Remedies for codes that batchsnap gives, by code or its part before the dot."""
