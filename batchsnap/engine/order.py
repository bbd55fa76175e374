"""What the user asked for, which ledger that means, and whether the two fit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from batchsnap.engine.intake import Birth
from batchsnap.errors import LedgerForeign, UsageError
from batchsnap.ledger.record import Record, unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.settings import Waits


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for."""

    manifest: str
    endpoint: str = ""  # "": the ledger's, else the default; may hold {region}
    ledger: str = ""  # "": beside the manifest; may hold {date}
    new: bool = False
    simulated: bool = False
    given: dict[str, Any] = field(default_factory=dict)  # settings given on this command
    retry_failed: bool = False
    wait: bool = False  # until every snapshot is ready
    encoding: str | None = None
    waits: Waits = field(default_factory=Waits)


def ledger_paths(order: Order) -> tuple[Path, Path]:
    """Where the run's ledger is, the newest of its series, and where `--new` makes the next.

    `x.jsonl` is followed by `x.2.jsonl` and `x.3.jsonl`. A number that the given name has (a date)
    is part of that name and never counted up: it would be tomorrow's ledger, or another run's.

    Raises:
        UsageError: standard input needs --ledger; the folder does not exist.
    """
    if order.ledger:
        today = datetime.now(UTC).strftime("%Y%m%d")
        first = Path(order.ledger.replace("{date}", today)).absolute()
    elif order.manifest == "-":
        raise UsageError("a manifest from standard input needs --ledger PATH, so that it resumes")
    else:
        kind = ".simulated" if order.simulated else ""
        first = Path(f"{order.manifest}{kind}.ledger.jsonl").absolute()
    if not first.parent.is_dir():
        raise UsageError(f"no folder {first.parent} for the ledger: make it, or give --ledger PATH")
    newest = first
    for number in count(2):
        following = first.with_name(f"{first.stem}.{number}{first.suffix}")
        if not following.exists():
            break
        newest = following
    return newest, following


def check_same_cloud(header: Record, order: Order) -> None:
    if header["simulated"] != order.simulated:
        kind = "a simulated run" if header["simulated"] else "a real run"
        raise LedgerForeign(f"the ledger is of {kind}: give this one its own with --ledger")
    if order.endpoint and not order.simulated and header["endpoint"] != order.endpoint:
        raise LedgerForeign(
            f"the ledger is of a run against {header['endpoint']}, not {order.endpoint}: give "
            "the same --endpoint, or another --ledger"
        )


def birth_of(fold: Fold, now: float) -> Birth:
    if fold.header:
        return Birth(fold.header["run_id"], unstamp(fold.header["at"]))
    moment = datetime.fromtimestamp(now, UTC)
    return Birth(f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", now)
