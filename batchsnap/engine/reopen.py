"""A ledger taken up again without its manifest: to settle its doubts, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchsnap import __version__
from batchsnap.clock import LoopClock
from batchsnap.cloud.quotas import check_endpoint
from batchsnap.engine.local import LocalExecutor, Work
from batchsnap.engine.ports import CredentialSource
from batchsnap.engine.row import request_of
from batchsnap.engine.run import SIMULATED, Result, first_of_ours
from batchsnap.engine.stopping import Stop
from batchsnap.engine.strand import Strand
from batchsnap.errors import Exit, LedgerForeign
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import Record, stamp
from batchsnap.ledger.store import Ledger
from batchsnap.lifecycle import DONE, State
from batchsnap.report.summary import Summary, summing
from batchsnap.settings import Settings, Waits

_UNCERTAIN = frozenset({State.SENT, State.IN_DOUBT})
_AT_REST = DONE | {State.REJECTED, State.GAVE_UP}


class Reopened:
    """A ledger, locked, with the settings it was run with and those given now over them."""

    def __init__(self, path: Path, *, endpoint: str, given: dict[str, Any]) -> None:
        """Raises LedgerError, UsageError."""
        self.path = path
        self.ledger = Ledger.open(path)
        self.fold = self.ledger.fold
        self.taps: list[Callable[[Record], None]] = []
        try:
            self.settings = Settings().merged(self.fold.settings).merged(given)
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
        except BaseException:
            self.ledger.release()
            raise

    def close(self) -> None:
        self.ledger.release()

    @property
    def doubts(self) -> int:
        """Rows that can be settled from what their intents recorded."""
        return sum(len(s.doubts) + len(s.owed) for s in self._strands().values())

    async def settle(
        self, credentials: CredentialSource, stop: Stop, say: Callable[[str], None]
    ) -> Result:
        """Ask about every doubt; a row found absent stays pending for the next `run`."""
        clock = LoopClock()
        self.ledger.taps.extend(self.taps)
        resumed: Record = {
            "event": "resumed",
            "at": stamp(clock.wall()),
            "tool": f"batchsnap/{__version__}",
            "settings": self.settings.to_json(),
        }
        self.ledger.append(resumed)
        work = Work(
            ledger=self.ledger,
            strands=list(self._strands().values()),
            settings=self.settings,
            waits=Waits(),
            endpoint=self.endpoint,
            simulated=False,
            ask_first=False,
            send=False,
        )
        try:
            await LocalExecutor(clock, credentials, say).execute(work, stop)
        except BaseExceptionGroup as group:
            raise first_of_ours(group) from None
        folded = summing(records(self.path))
        summary = folded.close()
        return Result(summary, _exit_of(summary, owed=folded.owed, stop=stop), self.path)

    def _strands(self) -> dict[tuple[str, str], Strand]:
        strands: dict[tuple[str, str], Strand] = {}
        for key, intent in self.fold.intents.items():
            standing = self.fold.standing(key)
            request = request_of(intent)
            scope = (request.profile, request.region)
            if standing.state in _UNCERTAIN:
                strands.setdefault(scope, Strand(*scope, Waits())).doubts.append(request)
            elif standing.owed and standing.state in _AT_REST:
                strands.setdefault(scope, Strand(*scope, Waits())).owed.append(request)
        return strands


def _exit_of(summary: Summary, *, owed: bool, stop: Stop) -> Exit:
    if stop.exit is not None:
        return stop.exit
    if summary.in_doubt or owed:
        return Exit.UNFINISHED
    return Exit.SOME_FAILED if summary.doubled else Exit.DONE
