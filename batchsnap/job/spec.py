"""What the user asked for, which ledger that means, and whether the two fit; what came of it. It is
the one place that knows which kinds of ledger there are."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchsnap.errors import Exit, LedgerForeign, UsageError
from batchsnap.job.copies import CopyManifest, copies_at
from batchsnap.ledger.file import FileStore, series_beside, series_of
from batchsnap.ledger.ports import Series, Store
from batchsnap.ledger.record import Record, decode, unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import Event
from batchsnap.manifest.cells import region_flaw
from batchsnap.manifest.reader import Manifest
from batchsnap.postgres.address import dated, is_postgres, need_ledger, parse
from batchsnap.report.summary import Summary
from batchsnap.settings import Waits

SIMULATED = "simulated"
"""The endpoint of a rehearsal: its port changes, and it is never the real cloud."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    summary: Summary
    exit: Exit
    ledger: str  # its address, as every command takes it


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What the user asked for."""

    manifest: str
    endpoint: str = ""  # "": the ledger's, else the default; may hold {region}
    ledger: str = ""  # "": beside the manifest; may hold {date}
    new: bool = False
    simulated: bool = False
    given: dict[str, Any] = field(default_factory=dict)  # settings given on this command
    retry_failed: bool = False
    wait: bool = False  # until every snapshot is ready
    ask_first: bool = False  # records may be missing, though nothing shows it
    encoding: str | None = None
    looked_at: bool = False  # a person is shown what would be sent, and asked, before it is
    copy_to: str = ""  # a region: `manifest` is a ledger whose snapshots are copied there
    waits: Waits = field(default_factory=Waits)


def open_manifest(spec: JobSpec) -> Manifest | CopyManifest:
    """The manifest that is meant; of copies it is a ledger.

    Raises:
        UsageError: as `Manifest.open` does; it is a ledger, or none; the region can't be used.
        LedgerError: the ledger whose copies are meant can't be read.
    """
    if spec.copy_to:
        return _open_copies(spec.manifest, spec.copy_to)
    manifest = Manifest.open(spec.manifest, encoding=spec.encoding)
    header = decode(manifest.first_line())
    if header is None or header.get("event") != Event.RUN:
        return manifest
    manifest.close()
    of = header["manifest"]["path"]
    raise UsageError(
        f"{spec.manifest} is the ledger of run {header['run_id']}, and no manifest. To go on: "
        f"batchsnap run {of} --ledger {spec.manifest}; to look: batchsnap status {spec.manifest}"
    )


def _open_copies(ledger: str, to: str) -> CopyManifest:
    """The manifest of the copies of a ledger's snapshots in region `to`.

    Raises:
        UsageError: the region or the kind of ledger can't be used. LedgerError: it can't be read.
    """
    if flaw := region_flaw(to):
        raise UsageError(f"--to {flaw}.")
    if is_postgres(ledger):
        raise UsageError(
            "copy reads a ledger in a file: export this one first, and give the file that it wrote"
        )
    return CopyManifest(store_at(ledger), to)


def store_at(address: str) -> Store:
    """The one ledger that an address means.

    Raises:
        UsageError: of a kind that can't be used.
    """
    if is_postgres(address):
        # A file run needs none of it, and it is a tenth of what a run imports.
        from batchsnap.postgres.store import DatabaseStore

        return DatabaseStore(need_ledger(parse(address)))
    return FileStore(Path(address))


def series_at(template: str, now: datetime) -> Series:
    """The ledgers that `--ledger` means; it may hold {date}.

    Raises:
        UsageError: of a kind that can't be used, or there can be none.
    """
    if is_postgres(template):
        from batchsnap.postgres.door import psycopg_here

        parse(dated(template, now))
        psycopg_here()
        raise UsageError(
            "a ledger in PostgreSQL is for run, work, stop, status and report; give this command "
            "a file, such as `batchsnap ledger export` writes"
        )
    return series_of(template, now)


def series_meant(spec: JobSpec, now: datetime) -> Series:
    """The ledgers that are meant.

    Raises:
        UsageError: standard input needs --ledger; and as `series_at` does.
    """
    if spec.ledger:
        return series_at(spec.ledger, now)
    if spec.manifest == "-":
        raise UsageError("a manifest from standard input needs --ledger PATH, so that it resumes")
    if spec.copy_to:
        return series_beside(copies_at(spec.manifest, spec.copy_to))
    kind = ".simulated" if spec.simulated else ""
    return series_beside(Path(f"{spec.manifest}{kind}.ledger.jsonl"))


def check_same_cloud(header: Record, spec: JobSpec) -> None:
    if header["simulated"] != spec.simulated:
        kind = "a simulated run" if header["simulated"] else "a real run"
        raise LedgerForeign(f"the ledger is of {kind}: give this one its own with --ledger")
    if header.get("copy_to", "") != spec.copy_to:
        raise LedgerForeign(
            "the ledger is of copies, which `batchsnap copy` goes on with"
            if header.get("copy_to")
            else "the ledger is of no copies: move it away"
        )
    if spec.endpoint and not spec.simulated and header["endpoint"] != spec.endpoint:
        raise LedgerForeign(
            f"the ledger is of a run against {header['endpoint']}, not {spec.endpoint}: give "
            "the same --endpoint, or another --ledger"
        )


@dataclass(frozen=True, slots=True)
class Birth:
    """What names are made of: fixed when the run is born, the same in all its lives."""

    run_id: str
    at: float  # Unix seconds


def birth_of(fold: Fold, now: float) -> Birth:
    if fold.header:
        return Birth(fold.header["run_id"], unstamp(fold.header["at"]))
    moment = datetime.fromtimestamp(now, UTC)
    return Birth(f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", now)
