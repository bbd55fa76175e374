"""What all attempts of a run share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from batchsnap.client.ports import Clock, RecordSink
from batchsnap.client.stopping import Stop
from batchsnap.ledger.record import row_record, stamp
from batchsnap.settings import Settings, Waits
from batchsnap.settling.makers import Creator, Maker
from batchsnap.settling.row import Row


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
    maker: Maker = field(default_factory=Creator)  # the call that all of them are tries of

    def note(self, event: str, row: Row, **details: object) -> object:
        """Append a record of the row; the handle is for `sink.durable`, if anyone waits."""
        at = stamp(self.clock.wall())
        return self.sink.append(row_record(event, row.request, row.attempt, at, **details))
