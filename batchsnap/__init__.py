"""batchsnap: one snapshot for every disk of a fleet.

    manifest ─▶ plan ─▶ [ledger: what is left?] ─▶ engine ─▶ ledger ─▶ status, report

The promises, which every room keeps:

1. One row, one snapshot. An intent is durable before its request leaves; what may have been
   executed is settled by asking before anything is sent for that row again.
2. Never over the cap: at most `rate` starts in any one-second window of a quota.
3. The ledger is the truth. If it can't be written, nothing more is sent.
4. Accepted is not ready.
5. One bad row never stops the others; a bad account or region stops its own rows only.
6. Secrets never leave.
7. Memory does not grow with the manifest beyond a few bytes a row.

The words: a *Row* of the manifest becomes a *PlannedRequest* with a stable key. Each try is an
*Attempt*; it ends in a *Reply* or a *Fault*, and a *Verdict* says what that means. A *Record* is a
ledger line. A *Run* is the job over all its process lives. To *settle* is to resolve a doubt by
asking the cloud. A *Gate* is where a token is waited for, a *Quota* what a gate stands for. A
*Summary* is the sum of a run's records.

Where to begin reading: `model`, `lifecycle`, `plan`, `pacing.law`, `ledger.record`,
`engine.attempt`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchsnap.version import __version__

if TYPE_CHECKING:
    from batchsnap.client.stopping import Stop as Stop
    from batchsnap.cloud.credentials import StaticCredentials as StaticCredentials
    from batchsnap.errors import BatchsnapError as BatchsnapError
    from batchsnap.errors import CredentialsError as CredentialsError
    from batchsnap.errors import Exit as Exit
    from batchsnap.errors import LedgerError as LedgerError
    from batchsnap.errors import ManifestError as ManifestError
    from batchsnap.errors import OtherVersion as OtherVersion
    from batchsnap.errors import UsageError as UsageError
    from batchsnap.job.spec import Result as Result
    from batchsnap.library.api import run as run
    from batchsnap.library.api import stream as stream
    from batchsnap.report.summary import Summary as Summary


_HOMES = {
    "run": "batchsnap.library.api",
    "stream": "batchsnap.library.api",
    "Result": "batchsnap.job.spec",
    "Stop": "batchsnap.client.stopping",
    "Summary": "batchsnap.report.summary",
    "StaticCredentials": "batchsnap.cloud.credentials",
    "BatchsnapError": "batchsnap.errors",
    "CredentialsError": "batchsnap.errors",
    "LedgerError": "batchsnap.errors",
    "ManifestError": "batchsnap.errors",
    "OtherVersion": "batchsnap.errors",
    "UsageError": "batchsnap.errors",
    "Exit": "batchsnap.errors",
}
__all__ = [
    "BatchsnapError",
    "CredentialsError",
    "Exit",
    "LedgerError",
    "ManifestError",
    "OtherVersion",
    "Result",
    "StaticCredentials",
    "Stop",
    "Summary",
    "UsageError",
    "__version__",
    "run",
    "stream",
]


def __getattr__(name: str) -> object:
    """Loaded when first used, so that `batchsnap --version` loads nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'batchsnap' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
