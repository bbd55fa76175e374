"""What a ledger is to those who use it, wherever it lies.

`Store` is a ledger by its address, whether it is there or not: it can be born, opened and read.
`RecordSink` is an open one: this process alone writes to it. `Series` is the ledgers that one
address means, where each day or each run has its own.

`file.FileStore` is a file of this machine. A ledger elsewhere brings its own three, and the line
in `job.spec` that tells its addresses; nothing of job, engine, report or cli changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from batchsnap.errors import LedgerUnwritable
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold


class RightToSend(Protocol):
    """It comes and goes where a ledger may be taken over, and ends for good when it was."""

    @property
    def ended(self) -> str:
        """Why it never holds again, or ""."""
        ...

    def holds(self) -> bool:
        """Whether something may be sent now."""
        ...

    async def held(self) -> bool:
        """Wait until it holds; False once it has ended."""
        ...


class RecordSink(Protocol):
    """An open ledger: where records go. A send waits for `durable` of its own intent.

    After `failure` is set nothing may be sent any more. What is lost for a while only is no
    failure: `durable` waits then.
    """

    @property
    def fold(self) -> Fold:
        """Where every row stands, with all that was appended."""
        ...

    @property
    def label(self) -> str:
        """Its address, to be shown."""
        ...

    @property
    def failure(self) -> LedgerUnwritable | None: ...

    @property
    def taps(self) -> list[Callable[[Record], None]]:
        """Each is called with every record taken, before that is durable; it must not block."""
        ...

    @property
    def right(self) -> RightToSend | None:
        """To send for all of its rows, while `commit` runs; None: whoever has it open has it."""
        ...

    @property
    def was_cut(self) -> bool:
        """Whether a repair ever cut this ledger."""
        ...

    @property
    def lost(self) -> str:
        """Why durable records may be missing, or ""."""
        ...

    @property
    def gap(self) -> Gap:
        """Whether its silence about a row is a proof."""
        ...

    def append(self, record: Record) -> Any:
        """Take a record; the handle is for `durable`.

        Raises:
            LedgerUnwritable, IllegalMove
        """
        ...

    async def durable(self, group: Any) -> None:
        """Wait until the record is on disk.

        Raises:
            LedgerUnwritable
        """
        ...

    def resume(self, record: Record) -> None:
        """Append the `resumed` record of this life, with what the ledger knows of itself: which
        one it is, and what was recovered.

        Raises: as `append` does.
        """
        ...

    def records(self) -> Iterator[Record]:
        """All records from the first, read again; perhaps without those that are not durable.

        Raises:
            LedgerError: they can't be read.
        """
        ...

    async def commit(self) -> None:
        """Make durable what is appended, until `close`. Runs once for each begun stretch of
        work, and sets `failure` instead of raising."""
        ...

    def close(self) -> None:
        """End `commit` after the records appended so far."""
        ...

    def release(self) -> None:
        """Give it up: another process may open it."""
        ...


class Owned(NamedTuple):
    """A quota of a ledger that many work on, as the ledger's place knows it."""

    source: str
    host: str
    profiles: tuple[str, ...]  # whose rows these are
    rows: int
    ended: str  # done, halted, gave_up; "" while it is to be worked on
    held: bool  # a living process owns it


def name_of(profiles: Iterable[str], source: str) -> str:
    """A quota for people: whose keys."""
    return ", ".join(name or "default keys" for name in profiles) or source


class Follower(Protocol):
    """Reads on where it stopped: for a view of a run that is going on."""

    def more(self) -> list[Record] | None:
        """Records since the last call, not necessarily all; None where all must be read again.

        Raises:
            LedgerError: it can't be read.
            LedgerAway: it can't be read now; the next call goes on.
        """
        ...

    def parts(self) -> list[Owned]:
        """As `Store.parts`, now; raises as `more`."""
        ...

    def close(self) -> None:
        """Let go of what it reads from; a call that another thread waits in ends."""
        ...


class Store(Protocol):
    """A ledger by its address, whether it is there or not. Asking it changes nothing but by
    `open`, `find` and `create`."""

    @property
    def label(self) -> str:
        """Its whole address, as every command takes it and messages show it."""
        ...

    @property
    def name(self) -> str:
        """Its name within its series."""
        ...

    @property
    def own_files(self) -> list[Path]:
        """What of it lies in files, which no report may be written over."""
        ...

    def exists(self) -> bool: ...

    def open(self) -> RecordSink:
        """Lock it and recover what is true of it, durably.

        Raises:
            LedgerLocked, LedgerDamaged, LedgerForeign, LedgerUnwritable
            LedgerError: it can't be read, or not be locked.
        """
        ...

    def find(self) -> RecordSink | None:
        """It, opened, or None where there never was one.

        Raises:
            LedgerError: there was one and it is gone; and as `open` does.
        """
        ...

    def create(self, header: Record) -> RecordSink:
        """Give birth to it with its `run` record, whole and locked, or not at all.

        Raises:
            LedgerLocked: another process was faster.
            LedgerError: it was there and is lost.
            LedgerUnwritable: there is no place for it.
        """
        ...

    def records(self) -> Iterator[Record]:
        """Its records in order, read without a lock.

        Raises:
            LedgerError: it is not there, or can't be read.
        """
        ...

    def follow(self) -> Follower: ...

    def digest(self, lines: int) -> str:
        """The SHA-256 of its first lines, in hex; raises LedgerError as `records` does."""
        ...

    def beside(self, word: str) -> list[tuple[str, Store]]:
        """The ledgers that belong to this one, `<name>.<word>-<rest>`, each with its rest."""
        ...

    def held(self) -> bool | None:
        """Whether a process has it open, found without being in anybody's way; None where that
        can't be told."""
        ...

    def parts(self) -> list[Owned]:
        """Its parts, where each has an owner of its own; none where it is in one piece."""
        ...

    def warnings(self) -> list[str]:
        """What a careful person should hear of this place before a run begins."""
        ...


@dataclass(frozen=True, slots=True)
class Series:
    """The ledgers of one `--ledger`, as far as a command is concerned with them."""

    newest: Store  # of today; it need not exist
    following: Store  # where --new makes the next
    earlier: Store | None = None  # the newest of an earlier day, where today has none
