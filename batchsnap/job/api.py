"""The library's doors: `run` to the end, or `stream` to see each record as it is written.

What embeds them gets the same promises as the command line: the ledger, the cap, the settling.
Signals are the embedder's: give a `Stop` and call its `request`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Unpack

import anyio
import anyio.to_thread

from batchsnap.client.ports import CredentialSource
from batchsnap.client.stopping import Stop
from batchsnap.cloud.credentials import chain
from batchsnap.errors import Exit, first_of_ours
from batchsnap.job.run import prepare
from batchsnap.job.spec import JobSpec, Result
from batchsnap.ledger.record import Record
from batchsnap.settings import Given


def _silent(_text: str) -> None:
    """Talk that nobody asked for."""


async def run(
    manifest: str | Path,
    *,
    ledger: str | Path,
    endpoint: str = "",
    credentials: CredentialSource | None = None,
    encoding: str | None = None,
    retry_failed: bool = False,
    wait: bool = False,
    stop: Stop | None = None,
    say: Callable[[str], None] = _silent,
    on_record: Callable[[Record], None] | None = None,
    **settings: Unpack[Given],
) -> Result:
    """Make one snapshot for each row of a manifest, or go on where its ledger stands.

    `settings` are the fields of `Settings`; those not given are the ledger's, else the defaults.
    `credentials` default to the chain of the command line. `on_record` is called with every
    record that is taken, before it is durable, and must not block.

    Raises:
        ManifestError, UsageError: nothing was sent.
        CredentialsError: there are none; nothing was sent.
        LedgerError: nothing was sent after it.
    """
    spec = JobSpec(
        manifest=str(manifest),
        endpoint=endpoint,
        ledger=str(ledger),
        given=dict(settings),
        encoding=encoding,
        retry_failed=retry_failed,
        wait=wait,
    )
    prepared = await anyio.to_thread.run_sync(prepare, spec)
    try:
        if prepared.finished is not None:
            return prepared.result()
        if on_record is not None:
            prepared.taps.append(on_record)
        source = (
            credentials
            if credentials is not None
            else chain(prepared.endpoint, prepared.settings.region)
        )
        return await prepared.execute(prepared.endpoint, source, stop or Stop(), say)
    except BaseExceptionGroup as group:
        raise first_of_ours(group) from None
    finally:
        prepared.close()


class Stream:
    """Records of a run, as they are taken; `result` once the iteration has ended."""

    def __init__(self, records: AsyncIterator[Record]) -> None:
        self.result: Result | None = None
        self._records = records

    def __aiter__(self) -> AsyncIterator[Record]:
        return self._records


@asynccontextmanager
async def stream(
    manifest: str | Path,
    *,
    ledger: str | Path,
    endpoint: str = "",
    credentials: CredentialSource | None = None,
    encoding: str | None = None,
    **settings: Unpack[Given],
) -> AsyncIterator[Stream]:
    """`run` in the background, its records as an async iterator. Leaving the block early drains:
    nothing more is sent, replies that are out are waited for.

    Raises:
        as `run` does, at the end of the block.
    """
    stop = Stop()
    send, receive = anyio.create_memory_object_stream[Record](math.inf)
    opened = Stream(receive)

    def pass_on(record: Record) -> None:
        with suppress(anyio.BrokenResourceError):  # the reader has left; the run drains
            send.send_nowait(record)

    async def work() -> None:
        async with send:
            opened.result = await run(
                manifest,
                ledger=ledger,
                endpoint=endpoint,
                credentials=credentials,
                encoding=encoding,
                stop=stop,
                on_record=pass_on,
                **settings,
            )

    try:
        async with receive, anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            try:
                yield opened
            finally:
                if opened.result is None:
                    stop.request(Exit.UNFINISHED, "the reader left")
    except BaseExceptionGroup as group:
        raise first_of_ours(group) from None
