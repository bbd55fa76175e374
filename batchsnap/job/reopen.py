"""A ledger taken up again without its manifest: to settle, to wait, to roll back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from batchsnap.client.connections import Connections, connected
from batchsnap.client.ports import CredentialSource, Say
from batchsnap.client.stopping import Stop, bounded
from batchsnap.clock import LoopClock
from batchsnap.cloud.endpoints import check_endpoint, is_local
from batchsnap.engine.executor import LocalExecutor, Work, committing, new_context
from batchsnap.engine.queue import Queue
from batchsnap.errors import Exit, LedgerForeign
from batchsnap.job.spec import SIMULATED, Result
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.ports import RecordSink
from batchsnap.ledger.record import Record, stamp
from batchsnap.lifecycle import DELETABLE, OVER, UNCERTAIN, Event
from batchsnap.model import PlannedRequest, RegionKey
from batchsnap.report.summary import Summary, summary_of
from batchsnap.settings import MAX_DURATION_S, Settings, Waits
from batchsnap.settling.rollback import Rollback, seconds_in
from batchsnap.settling.row import request_in
from batchsnap.settling.snapshots import Pile, accepted_in, piled
from batchsnap.version import TOOL


class Reopened:
    """A ledger, locked, with the settings it was run with and those given now over them."""

    def __init__(self, ledger: RecordSink, *, endpoint: str, given: dict[str, Any]) -> None:
        """Raises LedgerForeign, UsageError; the ledger is let go then."""
        self.ledger = ledger
        self.fold = ledger.fold
        self.taps: list[Callable[[Record], None]] = []
        try:
            # What bounds a run's time does not bound what is done after it, nor the reverse.
            self._of_run = Settings().merged(self.fold.settings).max_duration_s
            kept = {**self.fold.settings, "max_duration_s": MAX_DURATION_S}
            self.settings = Settings().merged(kept).merged(given)
            self.settings.check()
            if self.fold.header["simulated"] and not endpoint:
                raise LedgerForeign(
                    "the ledger is of a simulated run: its cloud is gone with the process"
                )
            known = self.fold.header["endpoint"]
            self.endpoint = endpoint or known
            if known not in {self.endpoint, SIMULATED}:
                raise LedgerForeign(f"the ledger is of a run against {known}, not {endpoint}")
            check_endpoint(self.endpoint)
            self.settings = self.settings.settling(
                local=is_local(self.endpoint), given="settle_for_s" in given
            )
        except BaseException:
            self.ledger.release()
            raise

    def close(self) -> None:
        self.ledger.release()

    @property
    def doubts(self) -> int:
        """Rows that can be settled from what their intents recorded."""
        return sum(1 for _ in self._open())

    async def settle(self, credentials: CredentialSource, stop: Stop, say: Say) -> Result:
        """Ask about every doubt; a row found absent stays pending for the next `run`."""
        return await self._execute(self._queues(), credentials, stop, say, wait=False)

    async def wait(self, credentials: CredentialSource, stop: Stop, say: Say) -> Result:
        """Until every accepted snapshot is ready or gone."""
        return await self._execute({}, credentials, stop, say, wait=True)

    def deletable(self) -> dict[RegionKey, Pile]:
        """The snapshots that a rollback may delete. A row that owes its last question is asked
        about first: once its snapshot is deleted, a second one would pass for it."""
        standing = self.fold.standing
        found = accepted_in(self.ledger.records(), lambda key: standing(key).state, DELETABLE)
        return piled(snapshot for snapshot in found if not standing(snapshot.key).owed)

    async def rollback(
        self, snapshots: dict[RegionKey, Pile], credentials: CredentialSource, stop: Stop, say: Say
    ) -> tuple[Result, Counter[str]]:
        """Delete what is `deletable`; (how it stands, what was left and why)."""
        clock = LoopClock()
        left: Counter[str] = Counter()
        seconds = piled(seconds_in(self.ledger.records))
        self._begin(clock)
        async with (
            self._connected(clock, credentials, stop, say) as connections,
            committing(self.ledger),
        ):
            reach = connections.reach(self.endpoint)
            context = new_context(
                self.ledger, clock, stop, self.settings, Waits(), say=say, reach=reach
            )
            for scope in {**snapshots, **seconds}:
                rollback = Rollback(reach(*scope), context)
                if scope in snapshots:
                    await rollback.run(snapshots[scope])
                if scope in seconds:
                    await rollback.tell_seconds(seconds[scope])
                left += rollback.left
        summary = summary_of(self.fold)
        left += self._unasked()
        code = stop.exit or (Exit.UNFINISHED if left else Exit.DONE)
        return Result(summary, code, self.ledger.label), left

    def _unasked(self) -> Counter[str]:
        """Rows that may have a snapshot which the ledger does not know, by what is to be done."""
        standings = [self.fold.standing(key) for key in self.fold.intents]
        owed = [s.state in OVER for s in standings if s.owed and s.state not in UNCERTAIN]
        return +Counter(
            {
                "in doubt whether they were made: run settle, then rollback again": sum(
                    self.fold.counts[state] for state in UNCERTAIN
                ),
                "sent twice and not asked about since: run settle, then rollback again": sum(owed),
                "sent twice without a snapshot so far: run the manifest to its end, then rollback "
                "again": len(owed) - sum(owed),
            }
        )

    def _begin(self, clock: LoopClock) -> None:
        self.ledger.taps.extend(self.taps)
        resumed: Record = {
            "event": Event.RESUMED,
            "at": stamp(clock.wall()),
            "tool": TOOL,
            "settings": {**self.settings.to_json(), "max_duration_s": self._of_run},
        }
        self.ledger.resume(resumed)

    def _connected(
        self, clock: LoopClock, credentials: CredentialSource, stop: Stop, say: Say
    ) -> AbstractAsyncContextManager[Connections]:
        """The way to the cloud, for as long as the ledger gives the right to it."""
        return connected(
            self.settings,
            clock,
            credentials,
            shared=True,
            say=say,
            stop=stop,
            right=self.ledger.right,
        )

    async def _execute(
        self,
        queues: dict[tuple[str, str], Queue],
        credentials: CredentialSource,
        stop: Stop,
        say: Say,
        *,
        wait: bool,
    ) -> Result:
        clock = LoopClock()
        self._begin(clock)
        work = Work(
            ledger=self.ledger,
            queues=list(queues.values()),
            settings=self.settings,
            waits=Waits(),
            endpoint=self.endpoint,
            ask_first=Gap.NONE,
            send=False,
            wait=wait,
        )
        try:
            async with (
                bounded(stop, self.settings.max_duration_s),
                self._connected(clock, credentials, stop, say) as connections,
            ):
                await LocalExecutor(clock, connections, say).execute(work, stop)
        finally:
            for queue in work.queues:
                queue.close()
        summary = summary_of(self.fold)
        owed = not all(doubt for _, doubt in self._open())
        return Result(summary, _exit_after(summary, stop, owed=owed, wait=wait), self.ledger.label)

    def _queues(self) -> dict[tuple[str, str], Queue]:
        """What is open, by profile and region."""
        queues: dict[tuple[str, str], Queue] = {}
        for request, doubt in self._open():
            scope = (request.profile, request.region)
            queue = queues.get(scope)
            if queue is None:
                queue = queues[scope] = Queue(*scope, Waits())
            (queue.doubts if doubt else queue.owed).add(request)
        for queue in queues.values():
            queue.seal()
        return queues

    def _open(self) -> Iterator[tuple[PlannedRequest, bool]]:
        """The rows that wait for an answer, and whether they are in doubt."""
        for key, intent in self.fold.intents.items():
            standing = self.fold.standing(key)
            doubt = standing.state in UNCERTAIN
            if doubt or (standing.owed and standing.state in OVER):
                yield request_in(intent), doubt


def _exit_after(summary: Summary, stop: Stop, *, owed: bool, wait: bool) -> Exit:
    """Of a command that sends nothing: whether what it was called for is done."""
    if stop.exit is not None:
        return stop.exit
    if wait:
        if summary.accepted:
            return Exit.UNFINISHED
        return Exit.SOME_FAILED if summary.vanished else Exit.DONE
    if summary.in_doubt or owed:
        return Exit.UNFINISHED
    return Exit.SOME_FAILED if summary.doubled else Exit.DONE
