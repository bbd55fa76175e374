"""The manifest against the ledger: every problem, what is done, and each queue's rows to do.

One pass validates all rows, finds repeats and spools what is left, so that nothing is sent while a
problem stands, and the feed afterwards needs neither the manifest nor more memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from batchsnap import plan
from batchsnap.cloud.endpoints import endpoint_url
from batchsnap.engine.queue import Queue
from batchsnap.errors import LedgerForeign
from batchsnap.job.copies import CopyManifest
from batchsnap.job.spec import Birth
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import DONE, ENDED, UNCERTAIN, Standing, State
from batchsnap.manifest.reader import Manifest
from batchsnap.model import DiskRow, PlannedRequest, Problem, RegionKey
from batchsnap.settings import Settings, Waits
from batchsnap.settling.row import in_force, request_in, was_suspect


@dataclass(slots=True)
class Intake:
    """What a run has before it."""

    rows: int = 0
    done: int = 0  # rows that have their snapshot
    refused: int = 0  # rejected rows, left as they are without --retry-failed
    doubts: int = 0  # rows to be settled before anything else
    to_do: Counter[RegionKey] = field(default_factory=Counter)
    queues: dict[RegionKey, Queue] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)  # keys that the ledger has and the manifest not
    names: list[str] = field(default_factory=list)  # the first three
    owed: int = 0  # rows that will not be sent and are asked about
    usages: Counter[str] = field(default_factory=Counter)  # DiskUsage of rows to do; "": not said

    def close(self) -> None:
        """Let go of the worklists."""
        for queue in self.queues.values():
            queue.close()

    @property
    def images(self) -> str:
        """A word about snapshots of system disks, unless every row's will be a data disk's."""
        if not (system := self.usages["SYSTEM_DISK"]) and not self.usages[""]:
            return ""
        which = f"{system:,} are of system disks: what" if system else "what"
        return (
            f"{which} is made of a system disk becomes an image and no disk, unless its row has "
            "DiskUsage=DATA_DISK"
        )

    @property
    def left(self) -> int:
        """Rows to send, to settle or to ask about once more."""
        return self.to_do.total() + self.owed


class _Taker:
    """Puts each valid row where it belongs."""

    def __init__(
        self,
        fold: Fold,
        settings: Settings,
        waits: Waits,
        namer: plan.Namer | None,
        source: str,
        *,
        ask_first: bool,
    ) -> None:
        self.intake = Intake()
        self.known = 0  # rows that the ledger knows
        self._fold = fold
        self._settings = settings
        self._waits = waits
        self._namer = namer
        self._source = source
        self._ask_first = ask_first

    def take(self, row: DiskRow, key: str, *, retry_failed: bool, spool: bool) -> Problem | None:
        """Count the row, and spool it where there is something to do; a Problem where it was
        changed and something that was sent as it was before may yet turn up."""
        intake = self.intake
        cohort = self._fold.cohorts.get(key)
        profile = row.profile or self._settings.profile
        doubt = suspect = False
        if cohort is not None:
            self.known += 1
            state = cohort.standing.state
            if state in DONE:
                intake.done += 1
                return None
            refused = state is State.REJECTED and not retry_failed
            intent = in_force(self._fold, key, ask_first=self._ask_first and not refused)
            if intent is not None and (flaw := _changed(intent, row, profile)):
                return Problem(self._source, row.line, *flaw)
            if refused:
                intake.refused += 1
                return None
            doubt, suspect = self._marks(key, cohort.standing)
        scope = (profile, row.region)
        intake.to_do[scope] += 1
        intake.usages[row.disk_usage] += 1
        intake.doubts += doubt
        if spool:
            assert self._namer is not None
            request = plan.request_of(
                row, namer=self._namer, tags=self._settings.tags, profile=profile
            )
            self._spool(request, doubt=doubt, suspect=suspect)
        return None

    def put(self, request: PlannedRequest, *, retry_failed: bool) -> None:
        """As `take`, a request that was planned and judged before."""
        cohort = self._fold.cohorts.get(request.key)
        doubt = suspect = False
        if cohort is not None:
            if cohort.standing.state in DONE:
                self.intake.done += 1
                return
            if cohort.standing.state is State.REJECTED and not retry_failed:
                self.intake.refused += 1
                return
            doubt, suspect = self._marks(request.key, cohort.standing)
        self.intake.to_do[request.profile, request.region] += 1
        self.intake.doubts += doubt
        self._spool(request, doubt=doubt, suspect=suspect)

    def _marks(self, key: str, standing: Standing) -> tuple[bool, bool]:
        """Whether the row is to be settled first; whether it was held back as a suspect."""
        doubt = standing.state in UNCERTAIN or (standing.state in ENDED and standing.doubted)
        return doubt, was_suspect(self._fold.latest.get(key))

    def _spool(self, request: PlannedRequest, *, doubt: bool, suspect: bool) -> None:
        queue = self.queue((request.profile, request.region))
        if doubt:
            queue.doubts.add(request)
        elif suspect:
            queue.suspects.append(request)
        else:
            queue.worklist.add(request)

    def queue(self, scope: RegionKey) -> Queue:
        queue = self.intake.queues.get(scope)
        if queue is None:
            queue = self.intake.queues[scope] = Queue(*scope, self._waits)
        return queue

    def seal(self) -> None:
        for queue in self.intake.queues.values():
            queue.seal()

    def owe(self, gone: Container[str], *, retry_failed: bool, spool: bool) -> None:
        """Rows that will not be sent and wait for an answer: for their last question, or in doubt
        and gone from the manifest."""
        at_rest = DONE if retry_failed else DONE | {State.REJECTED}  # `take` has all others
        for key, intent in self._fold.intents.items():
            standing = self._fold.standing(key)
            doubt = key in gone and standing.state in UNCERTAIN
            owed = standing.owed and (standing.state in at_rest or key in gone)
            if not doubt and not owed:
                continue
            self.intake.owed += 1
            if spool:
                request = request_in(intent)
                queue = self.queue((request.profile, request.region))
                (queue.doubts if doubt else queue.owed).add(request)


def take_in(
    manifest: Manifest | CopyManifest,
    fold: Fold,
    settings: Settings,
    waits: Waits,
    *,
    birth: Birth,
    now: float,
    endpoint: str,
    retry_failed: bool = False,
    ask_first: bool = False,
    spool: bool = True,
) -> Intake:
    """Hold a manifest against a ledger's fold (an empty one in a first plan).

    `ask_first`: the ledger has a gap, and what it doesn't tell may have been sent all the same.

    Raises:
        ManifestError: with every problem; nothing may be sent.
        LedgerForeign: the ledger has not one row of this manifest.
        UsageError: the name template, a tag or the default region can't be used.
    """
    first = not fold.cohorts
    template = plan.compile_name(settings.name)
    plan.check_tags(settings.tags)
    namer = template.for_run(birth.run_id, datetime.fromtimestamp(birth.at, UTC))
    taker = _Taker(fold, settings, waits, namer, manifest.name, ask_first=ask_first)
    try:
        found = plan.survey(
            lambda: manifest.rows(region=settings.region),
            source=manifest.name,
            namer=namer,
            tags=settings.tags,
            profile=settings.profile,
            start=datetime.fromtimestamp(now, UTC) if first else None,
            rate_per_s=settings.rate_per_s,
            quota_of=lambda profile, region: (profile, endpoint_url(endpoint, region)),
            each=lambda row, key: taker.take(row, key, retry_failed=retry_failed, spool=spool),
        )
        if not first and not taker.known and found.rows:
            raise LedgerForeign(
                "the ledger has not one row of this manifest: it is another run's. Give this run "
                "its own with --ledger"
            )
        found.problems.raise_if_any()
        taker.intake.gone = [key for key in fold.cohorts if key not in found.keys]
        taker.owe(frozenset(taker.intake.gone), retry_failed=retry_failed, spool=spool)
        taker.seal()
    except BaseException:
        taker.intake.close()
        raise
    intake = taker.intake
    intake.rows = found.rows
    intake.names = found.names
    return intake


def sorted_in(
    requests: Iterable[PlannedRequest],
    fold: Fold,
    settings: Settings,
    waits: Waits,
    *,
    retry_failed: bool,
) -> Intake:
    """Requests that were planned before against where their rows stand now."""
    taker = _Taker(fold, settings, waits, None, "", ask_first=False)
    try:
        for request in requests:
            taker.put(request, retry_failed=retry_failed)
            taker.intake.rows += 1
        taker.owe(fold.gone, retry_failed=retry_failed, spool=True)
        taker.seal()
    except BaseException:
        taker.intake.close()
        raise
    return taker.intake


def _changed(intent: Record, row: DiskRow, profile: str) -> tuple[str, str] | None:
    """(column, what) of the first thing in which the row is no longer what was sent for it."""
    region_then, profile_then = intent["region"] or "", intent["profile"] or ""
    name_then = intent["snapshot_name"] if "baseline" in intent else ""
    if row.region != region_then:
        return "Region", _kept("region", region_then, row.region)
    if profile != profile_then and row.profile:
        return "Profile", _kept("profile", profile_then or "none of its own", profile)
    if profile != profile_then:
        return "--profile", _kept("profile", profile_then or "the default one", profile or "none")
    if row.snapshot_name != name_then:
        of_run = "one made by --name"
        return "SnapshotName", _kept("name", name_then or of_run, row.snapshot_name or of_run)
    return None


def _kept(what: str, then: str, now: str) -> str:
    return (
        f"{now}, but a snapshot that was asked for with {what} {then} may yet turn up: until that "
        f"is known the row keeps its {what}. Put it back to {then} and run again; change it once "
        "no doubt is left"
    )
