"""One run from manifest to exit code: prepare (nothing sent, nothing made), then execute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from batchsnap.client.connections import connected
from batchsnap.client.ports import CredentialSource, Say
from batchsnap.client.stopping import Stop, bounded
from batchsnap.clock import Clock, LoopClock
from batchsnap.cloud.endpoints import check_endpoint, endpoint_url, is_local
from batchsnap.cloud.proxies import proxy_of
from batchsnap.engine.executor import LocalExecutor, Work, committing
from batchsnap.errors import CredentialsError, Exit, UsageError
from batchsnap.job.accounts import placed, shared
from batchsnap.job.copies import CopyManifest
from batchsnap.job.intake import Intake, take_in
from batchsnap.job.series import Opened, open_newest, supersede
from batchsnap.job.spec import (
    SIMULATED,
    JobSpec,
    Result,
    birth_of,
    check_same_cloud,
    open_manifest,
    series_meant,
)
from batchsnap.ledger.ports import RecordSink
from batchsnap.ledger.record import VERSION, Record, stamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import Event, State
from batchsnap.manifest.reader import Manifest
from batchsnap.report.summary import exit_of, summary_of
from batchsnap.settings import ENDPOINT_DEFAULT, Settings
from batchsnap.version import TOOL


class Prepared:
    """A validated run that has sent nothing. It holds the ledger's lock if there is a ledger."""

    def __init__(self, spec: JobSpec, manifest: Manifest | CopyManifest, opened: Opened) -> None:
        self.spec = spec
        self.manifest = manifest
        self.store = opened.store
        self.ledger = ledger = opened.ledger
        self.earlier = opened.earlier  # locked too: it is superseded before anything is sent
        self.told = opened.told
        self.taps: list[Callable[[Record], None]] = []  # each sees every record that is written
        self.fold = ledger.fold if ledger is not None else Fold()
        settings = Settings().merged(self.fold.settings).merged(spec.given)
        self.settings, self.region_from = placed(settings)
        self.settings.check()
        self.endpoint = self._endpoint()
        local = spec.simulated or is_local(self.endpoint)
        given = "settle_for_s" in spec.given
        self.settings = self.settings.settling(local=local, given=given)
        now = datetime.now(UTC).timestamp()
        self.birth = birth_of(self.fold, now)
        self.intake: Intake = take_in(
            manifest,
            self.fold,
            self.settings,
            spec.waits,
            birth=self.birth,
            now=now,
            endpoint=self.endpoint,
            retry_failed=spec.retry_failed,
            ask_first=ledger is not None and bool(ledger.gap),
        )

        if self.finished is None:
            self.fold.expect(self.intake.rows, self.intake.gone)
        if (flaw := self.guess) and not spec.looked_at and not spec.simulated:
            self.intake.close()
            raise UsageError(
                f"{flaw}: a program can't tell. Look at it with `batchsnap plan`, then give "
                f"--encoding {manifest.encoding_name}, or the true one"
            )

    @property
    def guess(self) -> str:
        """What would be sent and hangs on a guess of the manifest's encoding, or ""."""
        if not self.manifest.guessed_text or not self.intake.to_do:
            return ""
        encoding = self.manifest.encoding_name.upper()
        text = self.manifest.guessed_text
        return f"the name or tag {text!r} is what it is only if the manifest is {encoding}"

    @property
    def resumed(self) -> bool:
        return self.ledger is not None

    @property
    def finished(self) -> Record | None:
        """The record of an earlier end, where nothing is left to do or to wait for."""
        awaited = self.spec.wait and self.fold.counts[State.ACCEPTED]
        return self.fold.finished if not self.intake.left and not awaited else None

    def result(self, stop: Stop | None = None) -> Result:
        """How the run stands: finished earlier, or stopped at once."""
        return self._result(stop or Stop(), halted=False)

    def close(self) -> None:
        """Let go of ledger and manifest."""
        self.manifest.close()
        self.intake.close()
        for ledger in (self.ledger, self.earlier):
            if ledger is not None:
                ledger.release()
        self.ledger = self.earlier = None

    async def execute(
        self, endpoint: str, credentials: CredentialSource, stop: Stop, say: Say
    ) -> Result:
        """Make the snapshots through `endpoint` (the run's own, or the simulator's).

        Raises:
            UsageError: the way to an endpoint is a proxy that can't be used; nothing was sent.
            CredentialsError: there are none for any row; nothing was sent.
            LedgerError: nothing was sent after it.
        """
        regions = {region for _, region in self.intake.queues}
        for region in filter(None, {*regions, self.spec.copy_to}):
            proxy_of(endpoint_url(endpoint, region))  # one that can't be used is an error now
        profiles = {profile for profile, _ in self.intake.queues}
        await _need_credentials(credentials, profiles)
        for text in await shared(credentials, profiles, endpoint, self.settings.region):
            say(text)
        if self.earlier is not None:
            await supersede(self.earlier, self.spec, credentials, stop, say, by=self.store)
        clock: Clock = LoopClock()
        ledger = self._open_ledger(clock)
        ledger.taps.extend(self.taps)
        work = Work(
            ledger=ledger,
            queues=list(self.intake.queues.values()),
            settings=self.settings,
            waits=self.spec.waits.fitted(self.settings.retry_for_s),
            endpoint=endpoint,
            ask_first=ledger.gap,
            rows=self.intake.rows,
            wait=self.spec.wait,
        )
        async with (
            bounded(stop, self.settings.max_duration_s),
            connected(
                self.settings,
                clock,
                credentials,
                shared=not self.spec.simulated,
                say=say,
                stop=stop,
            ) as connections,
        ):
            halts = await LocalExecutor(clock, connections, say).execute(work, stop)
        return await self._finish(ledger, stop, halted=halts.any, clock=clock)

    def _endpoint(self) -> str:
        if self.spec.simulated:
            return SIMULATED
        endpoint = self.spec.endpoint or self.fold.header.get("endpoint", ENDPOINT_DEFAULT)
        check_endpoint(endpoint)
        return endpoint

    def header(self) -> Record:
        """The `run` record of a new ledger."""
        header: Record = {
            "v": VERSION,
            "event": Event.RUN,
            "run_id": self.birth.run_id,
            "tool": TOOL,
            "manifest": self.manifest_record(),
            "endpoint": self.endpoint,
            "simulated": self.spec.simulated,
            "settings": self.settings.to_json(),
            "at": stamp(self.birth.at),
        }
        if self.spec.copy_to:
            header["copy_to"] = self.spec.copy_to
        return header

    def manifest_record(self) -> dict[str, Any]:
        """What the ledger keeps of the manifest."""
        told = {
            "path": self.manifest.path.encode("utf8", "backslashreplace").decode(),
            "sha256": self.manifest.digest(),
            "rows": self.intake.rows,
        }
        return {**told, "gone": self.intake.gone} if self.intake.gone else told

    def _open_ledger(self, clock: Clock) -> RecordSink:
        """A newborn ledger, or the open one with its `resumed` record."""
        now = clock.wall()
        if self.ledger is None:
            self.ledger = self.store.create(self.header())
            self.fold = self.ledger.fold
            return self.ledger
        resumed: Record = {
            "event": Event.RESUMED,
            "at": stamp(now),
            "tool": TOOL,
            "manifest": self.manifest_record(),
            "settings": self.settings.to_json(),
        }
        self.ledger.resume(resumed)
        return self.ledger

    async def _finish(
        self, ledger: RecordSink, stop: Stop, *, halted: bool, clock: Clock
    ) -> Result:
        found = self._result(stop, halted=halted)
        record: Record = {"event": Event.FINISHED, "at": stamp(clock.wall()), "exit": found.exit}
        if found.exit not in {Exit.DONE, Exit.SOME_FAILED}:
            record["event"] = Event.STOPPED
            if stop.reason:
                record["reason"] = stop.reason
        async with committing(ledger):
            await ledger.durable(ledger.append(record))
        return self._result(stop, halted=halted)

    def _result(self, stop: Stop, *, halted: bool) -> Result:
        summary = summary_of(self.fold)
        exit_code = exit_of(
            summary, owed=bool(self.fold.owed), stop=stop.exit, halted=halted, wait=self.spec.wait
        )
        return Result(summary, exit_code, self.store.label)


def prepare(spec: JobSpec, manifest: Manifest | CopyManifest | None = None) -> Prepared:
    """Validate everything that can be validated without sending. A `manifest` that is given stands
    for the one at the path, and is closed with what is prepared.

    Raises:
        ManifestError, UsageError: exit 2. LedgerError: exit 4.
    """
    manifest = manifest or open_manifest(spec)
    if isinstance(manifest, CopyManifest):
        spec = replace(spec, endpoint=manifest.endpoint_or(spec.endpoint))
    opened = None
    try:
        now = datetime.now(UTC)
        opened = open_newest(series_meant(spec, now), now, new=spec.new)
        if opened.ledger is not None:
            check_same_cloud(opened.ledger.fold.header, spec)
        return Prepared(spec, manifest, opened)
    except BaseException:
        manifest.close()
        if opened is not None:
            opened.release()
        raise


async def _need_credentials(credentials: CredentialSource, profiles: set[str]) -> None:
    """Credentials for at least one profile; a profile without halts its own rows later."""
    missing: CredentialsError | None = None
    for profile in sorted(profiles):
        try:
            await credentials.get(profile)
        except CredentialsError as error:
            missing = missing or error
        else:
            return
    if missing is not None:
        raise missing
