"""What all attempts of a run share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from batchsnap.client.ports import Clock, RecordSink
from batchsnap.client.stopping import Stop
from batchsnap.engine.row import Row
from batchsnap.ledger.record import row_record, stamp
from batchsnap.settings import Settings, Waits


@dataclass(frozen=True, slots=True)
class RunContext:
    """The ledger, the clock, the stop and the settings of a run."""

    sink: RecordSink
    clock: Clock
    stop: Stop
    settings: Settings
    waits: Waits
    rng: random.Random
    say: Callable[[str], None]  # talk for the person, one line

    def note(self, event: str, row: Row, **details: object) -> object:
        """Append a record of the row; the handle is for `sink.durable`, if anyone waits."""
        at = stamp(self.clock.wall())
        return self.sink.append(row_record(event, row.request, row.attempt, at, **details))
