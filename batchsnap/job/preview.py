"""What a run would do, found without a lock and without making anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from batchsnap import plan
from batchsnap.cloud.endpoints import check_endpoint, endpoint_url, host_of
from batchsnap.job.accounts import placed, where_from
from batchsnap.job.intake import Intake, take_in
from batchsnap.job.series import stands
from batchsnap.job.spec import JobSpec, birth_of, check_same_cloud, open_manifest, series_meant
from batchsnap.ledger.replay import Fold
from batchsnap.manifest.regions import unknown
from batchsnap.settings import ENDPOINT_DEFAULT, Settings


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
            *unknown(region for _, region in intake.to_do),
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
