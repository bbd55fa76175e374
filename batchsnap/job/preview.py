"""What a run would do, found without a lock and without making anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from batchsnap import plan
from batchsnap.cloud.endpoints import check_endpoint, endpoint_url, host_of
from batchsnap.job.accounts import placed, where_from
from batchsnap.job.intake import Intake, take_in
from batchsnap.job.series import stands
from batchsnap.job.spec import JobSpec, birth_of, check_same_cloud, series_meant
from batchsnap.ledger.replay import Fold
from batchsnap.manifest.reader import Manifest
from batchsnap.settings import ENDPOINT_DEFAULT, Settings


@dataclass(frozen=True, slots=True)
class Outlook:
    """The answer of `batchsnap plan`."""

    intake: Intake
    quotas: dict[tuple[str, str], dict[str, int]]  # (profile, host) -> region -> rows to do
    endpoint: str
    region: str  # of rows without one
    source: str  # the manifest's name
    rate_per_s: float
    eta_s: float
    resumes: bool
    ignored: list[str]
    warnings: list[str]


def look_ahead(spec: JobSpec, *, spool: bool = False) -> Outlook:
    """Validate a manifest, against the ledger if there is one; `spool` keeps the rows to do.

    Raises:
        ManifestError, UsageError: exit 2. LedgerError: exit 4.
    """
    manifest = Manifest.open(spec.manifest, encoding=spec.encoding)
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
    quotas: dict[tuple[str, str], dict[str, int]] = {}
    for (profile, region), rows in intake.to_do.items():
        host = host_of(endpoint_url(endpoint, region))
        quotas.setdefault((profile, host), {})[region] = rows
    per_quota = {quota: sum(regions.values()) for quota, regions in quotas.items()}
    return Outlook(
        intake,
        quotas,
        endpoint,
        settings.region,
        manifest.name,
        settings.rate_per_s,
        plan.forecast(per_quota, settings.rate_per_s),
        bool(fold.header),
        manifest.ignored,
        [*where_from(intake.to_do, settings, named_by), *manifest.warnings],
    )
