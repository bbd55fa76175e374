"""What a run would do, found without a lock and without making anything; with `--online`, each row
to do against DescribeDisks, a hundred at a time; and what a careful person should hear before a run
begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from batchsnap import plan
from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.actions import DATA_DISK, SYSTEM_DISK
from batchsnap.cloud.endpoints import check_endpoint, endpoint_url, host_of
from batchsnap.cloud.pages import DiskFact
from batchsnap.engine.queue import Queue
from batchsnap.job.accounts import placed, where_from
from batchsnap.job.discover import unfit
from batchsnap.job.intake import Intake, take_in
from batchsnap.job.run import Prepared
from batchsnap.job.series import stands
from batchsnap.job.spec import JobSpec, birth_of, check_same_cloud, open_manifest, series_meant
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.replay import Fold
from batchsnap.manifest.cells import unknown_regions
from batchsnap.model import PlannedRequest, Problem
from batchsnap.pacing.quota_file import home_folder, state_folder
from batchsnap.settings import ENDPOINT_DEFAULT, SETTLE_FOR_MIN_S, Settings, counted

CHAIN_NEAR = 60
"""A disk is said to take 64 snapshots (an older page of the quota documentation); so many are
near it."""
_ROWS_A_QUESTION = 100


@dataclass(frozen=True, slots=True)
class Outlook:
    """The answer of `batchsnap plan`."""

    intake: Intake
    quotas: dict[tuple[str, str], dict[str, int]]  # (profile, host) -> region -> rows to do
    endpoint: str
    source: str  # the manifest's name
    settings: Settings  # as understood
    eta_s: float
    resumes: bool
    ignored: list[str]
    warnings: list[str]


def look_ahead(spec: JobSpec, *, spool: bool = False) -> Outlook:
    """Validate a manifest, against the ledger if there is one; `spool` keeps the rows to do.

    Raises:
        ManifestError, UsageError: exit 2. LedgerError: exit 4.
    """
    manifest = open_manifest(spec)
    try:
        today, fold = datetime.now(UTC), Fold()
        if spec.ledger or spec.manifest != "-":
            fold = stands(series_meant(spec, today), today) or fold
            if fold.header:
                check_same_cloud(fold.header, spec)
        settings, named_by = placed(Settings().merged(fold.settings).merged(spec.given))
        settings.check()
        endpoint = spec.endpoint or fold.header.get("endpoint", ENDPOINT_DEFAULT)
        check_endpoint(endpoint)
        now = today.timestamp()
        intake = take_in(
            manifest,
            fold,
            settings,
            spec.waits,
            birth=birth_of(fold, now),
            now=now,
            endpoint=endpoint,
            retry_failed=spec.retry_failed,
            ask_first=fold.recovered,
            spool=spool,
        )
    finally:
        manifest.close()
    return Outlook(
        intake,
        quotas_of(intake, endpoint),
        endpoint,
        manifest.name,
        settings,
        eta_s(intake, endpoint, settings),
        bool(fold.header),
        manifest.ignored,
        [
            *where_from(intake.to_do, settings, named_by),
            *manifest.warnings,
            *unknown_regions(region for _, region in intake.to_do),
        ],
    )


def quotas_of(intake: Intake, endpoint: str) -> dict[tuple[str, str], dict[str, int]]:
    """(profile, host) -> region -> rows to do."""
    quotas: dict[tuple[str, str], dict[str, int]] = {}
    for (profile, region), rows in intake.to_do.items():
        host = host_of(endpoint_url(endpoint, region))
        quotas.setdefault((profile, host), {})[region] = rows
    return quotas


def eta_s(intake: Intake, endpoint: str, settings: Settings) -> float:
    """Until the last row is sent, were it all done at the full rate."""
    quotas = quotas_of(intake, endpoint).items()
    per_quota = {quota: sum(regions.values()) for quota, regions in quotas}
    return plan.forecast(per_quota, settings.rate_per_s)


@dataclass(slots=True)
class Online:
    """What the cloud says of the rows."""

    checked: int = 0
    problems: list[Problem] = field(default_factory=list)  # rows that can't work
    warnings: list[Problem] = field(default_factory=list)  # rows that may have to wait, and such
    unanswered: list[str] = field(default_factory=list)  # regions that did not answer, and why
    size_gib: int = 0  # of the disks that were found


async def check(account: Account, queue: Queue, source: str, found: Online) -> None:
    """Check a queue's rows and add what is found."""
    for batch in queue.worklist.batches(_ROWS_A_QUESTION):
        rows = [row for row in batch if row.disk_id]
        if not rows:
            continue
        answer = await questions.disks(account, queue.region, [row.disk_id for row in rows])
        if isinstance(answer, questions.Part):
            found.unanswered.append(f"{queue.region}: {answer.why.code}: {answer.why.message}")
            return
        _judge(rows, {fact.disk_id: fact for fact in answer.facts}, source, found)


def _judge(
    rows: Sequence[PlannedRequest], facts: dict[str, DiskFact], source: str, found: Online
) -> None:
    for row in rows:
        found.checked += 1
        fact = facts.get(row.disk_id)
        if fact is None:
            what = (
                f"this credential sees no {row.disk_id} in {row.region}: check the id, the region "
                "and the account"
            )
            found.problems.append(Problem(source, row.line, "DiskId", what))
            continue
        found.size_gib += fact.size_gib
        if why := unfit(fact):
            found.problems.append(Problem(source, row.line, "DiskId", f"{row.disk_id} {why}"))
        for what in _warnings(row, fact):
            found.warnings.append(Problem(source, row.line, "DiskId", f"{row.disk_id} {what}"))


def _warnings(row: PlannedRequest, fact: DiskFact) -> Iterator[str]:
    if fact.usage == SYSTEM_DISK and row.disk_usage != DATA_DISK:
        yield (
            "is a system disk: its snapshot becomes an image and no disk, unless its row has "
            f"DiskUsage={DATA_DISK}"
        )
    if fact.migrating:
        yield "is migrating: it is refused as busy until that ends, which can take hours"
    if fact.rollbacking:
        yield "is being rolled back: it is refused as busy until that ends"
    if fact.shareable:
        yield "is shared: some regions make no snapshots of shared disks"
    if fact.snapshot_count >= CHAIN_NEAR:
        yield f"has {fact.snapshot_count} snapshots: near the limit of a disk"


def warnings(prepared: Prepared) -> list[str]:
    """What a careful person should hear before the run begins."""
    said = [*filter(None, [prepared.told]), *prepared.manifest.warnings]
    said += where_from(prepared.intake.to_do, prepared.settings, prepared.region_from)
    said += prepared.store.warnings()
    if not prepared.spec.simulated and (folder := state_folder()) != (home := home_folder()):
        said.append(
            f"{home} can't be written: the cap is kept only with processes that use {folder} too. "
            "Make it writable, or point XDG_STATE_HOME of all of them to one folder"
        )
    said += raised(prepared.fold, prepared.settings)
    said += unknown_regions(region for _, region in prepared.intake.to_do)
    if prepared.intake.gone:
        number = len(prepared.intake.gone)
        are = "is" if number == 1 else "are"
        said.append(f"{counted(number, 'row')} of the ledger {are} gone from the manifest")
    gap = prepared.ledger.gap if prepared.ledger is not None else Gap.NONE
    if gap is Gap.CUT:
        said.append(
            "the ledger had a damaged end, kept in .broken: every row that isn't done is asked "
            "about before it is sent"
        )
    elif prepared.ledger is not None and gap is Gap.LOST:
        said.append(
            f"{prepared.ledger.lost}: what it lacks is not known, so every row that isn't done is "
            "asked about before it is sent, once the cloud must show what the last calls made"
        )
    return said


def raised(fold: Fold, settings: Settings) -> list[str]:
    """A word about a stored --settle-for that is too short for this endpoint."""
    if settings.settle_for_s != SETTLE_FOR_MIN_S:
        return []
    if fold.settings.get("settle_for_s", SETTLE_FOR_MIN_S) >= SETTLE_FOR_MIN_S:
        return []
    return [f"the ledger's --settle-for is below {SETTLE_FOR_MIN_S:g}s: raised to that"]
