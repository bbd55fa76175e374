"""Every error a user can meet, and the exit code each ends in. One screen, nothing else.

Failures of the cloud or the network are data (`model.Fault`, a verdict), never exceptions.
An exception here stops the command; `cli.main` prints its text and exits with its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from batchsnap.model import Problem


class Exit(IntEnum):
    """Exit codes. Where several apply, `worst` picks."""

    DONE = 0  # every row has its snapshot
    SOME_FAILED = 1  # ran to the end, some rows have none
    USAGE = 2  # usage or manifest error, nothing was sent
    HALTED = 3  # credentials, balance, quota, failure threshold
    LEDGER = 4  # ledger locked, damaged, of another run, or not writable
    UNFINISHED = 5  # doubts or deferred rows left: run again
    DEFECT = 70  # of ours; nothing is lost: run again
    INTERRUPTED = 130  # SIGINT, drained: run again
    TERMINATED = 143  # SIGTERM or SIGHUP, drained: run again


_PRECEDENCE = (
    Exit.DEFECT,
    Exit.LEDGER,
    Exit.TERMINATED,
    Exit.INTERRUPTED,
    Exit.HALTED,
    Exit.UNFINISHED,
    Exit.SOME_FAILED,
    Exit.USAGE,
)


def worst(codes: Sequence[Exit]) -> Exit:
    """The one exit code to leave with where several apply."""
    return next((code for code in _PRECEDENCE if code in codes), Exit.DONE)


class BatchsnapError(Exception):
    """The root. Its text is one sentence of what happened and one of what to do about it."""

    exit_code: Exit = Exit.USAGE


class UsageError(BatchsnapError):
    """An option, or a combination of options, that cannot be carried out."""


class ManifestError(BatchsnapError):
    """The manifest cannot be used. `problems` holds the first ones, `total` counts all."""

    def __init__(self, problems: Sequence[Problem], total: int) -> None:
        super().__init__(f"{total} problem{'s' * (total != 1)} in the manifest, nothing was sent")
        self.problems = tuple(problems)
        self.total = total


class CredentialsError(BatchsnapError):
    """No usable credentials. Never holds a secret value."""

    exit_code = Exit.HALTED


class OtherVersion(BatchsnapError):
    """Another version of batchsnap is at work, and the two can't keep one cap together."""

    def __init__(self, text: str, stopped: Exit | None = None) -> None:
        super().__init__(text)
        self.exit_code = stopped or Exit.UNFINISHED


class LedgerError(BatchsnapError):
    """The ledger cannot be used as it stands."""

    exit_code = Exit.LEDGER


class LedgerLocked(LedgerError):
    """Another process writes to this ledger."""


class LedgerDamaged(LedgerError):
    """Damage before the last record known durable; the text names the byte offset."""


class LedgerAway(LedgerError):
    """The database that the ledger is in was out of reach for too long: run again."""

    exit_code = Exit.UNFINISHED


class LedgerForeign(LedgerError):
    """The ledger belongs to another run, endpoint or a newer version."""


class LedgerUnwritable(LedgerError):
    """A write or sync failed. Nothing is sent after it."""


class IllegalMove(BatchsnapError):
    """A record that the life of a row does not allow: the ledger, or this program, is wrong."""

    exit_code = Exit.LEDGER


def leaves(error: BaseException) -> list[BaseException]:
    """What a group holds, and the groups in it; an error by itself is its own leaf."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for part in error.exceptions for leaf in leaves(part)]


def first_of_ours(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show of several that came at once: ours, else the system's, else the first
    where all are of one kind, else all."""
    for kind in (BatchsnapError, OSError):
        found: BaseException | None = group.subgroup(kind)
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if found is not None:
            return found
    first, *others = leaves(group)
    return group if any(type(other) is not type(first) for other in others) else first
