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

The rooms, from the floor up: each sees at most what stands above it here, and F0 is pure.

model       F0  the values of the walk
version     F0  the version
errors      F0  every error that a user can meet, and the exit code each ends in
settings    F0  what a run can be told; each setting stands once
lifecycle   F0  THE TABLE: where a row can go, by which event
retry       F0  what to do after a verdict: wait, settle, halt, give up, or done
suspicion   F0  is it one row that can't be done, or its whole account or region?
clock       F1  where time comes from
failpoints  F1  points at which tests kill the process
manifest        a file that people and tools wrote -> rows
cloud           the signature, the calls, the codes, and the connections
pacing          when the next start may come, and waiting for it
ledger          the records of a run: written, read, and folded
plan        F0  rows -> requests: keys, names, the survey, the forecast
postgres        the ledger in PostgreSQL
client          how a credential reaches a host: sign, pace, send, ask
settling        what is remembered of a row that is not at rest, and asking what became of it
engine          rows in, records out: each row's life
owners          a run seen from outside, where each quota has an owner
report          what happened, for people and scripts
simulator       a local cloud, faults included, that shares no code with the client
job             one run from the manifest to the exit code, and what comes after it
cluster         many machines on one run
library         what a program that embeds batchsnap calls
cli             the command line
__main__        `python -m batchsnap`

Where to begin reading: `model`, `lifecycle`, `plan`, `pacing` and its `law`, `ledger.record`,
`engine.attempt`, `engine.dispatcher`, `settling.settle`.
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
