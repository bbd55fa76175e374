"""Real ledger files at work: opened, written, filled to the brim, and held at their sync."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from batchsnap.errors import LedgerUnwritable
from batchsnap.ledger.record import Record
from batchsnap.ledger.store import Ledger
from tests.records import birth, moved

ROOT = Path(__file__).parents[1]


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Ledger]:
    """A newborn ledger that commits while the block runs."""
    ledger = Ledger.create(path, birth())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.commit)
        yield ledger
        ledger.close()
    ledger.release()


async def turns(count: int = 20) -> None:
    """Let every task that can go on do so."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


class HeldSync:
    """An fdatasync that waits for leave, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.count = 0
        real = os.fdatasync

        def fdatasync(fd: int) -> None:
            self.count += 1
            self.began.release()
            assert self.leave.acquire(timeout=20)
            real(fd)

        monkeypatch.setattr(os, "fdatasync", fdatasync)

    async def under_way(self) -> None:
        await anyio.to_thread.run_sync(self.began.acquire)


async def written(ledger: Ledger, *new: Record) -> None:
    """Append these, durably, and let the ledger go."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.commit)
        for record in new:
            await ledger.durable(ledger.append(record))
        ledger.close()
    ledger.release()


async def fill(ledger: Ledger) -> int:
    """Append until the ledger fails; how many records were said to be durable."""
    done = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.commit)
        try:
            while True:
                await ledger.durable(ledger.append(moved("intent", done)))
                done += 1
        except LedgerUnwritable as error:
            ledger.close()
            print(error)
    with pytest.raises(LedgerUnwritable):
        ledger.append(moved("intent", done + 1))
    ledger.release()
    return done
