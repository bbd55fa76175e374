"""The library's doors: `run` to the end, or `stream` to see each record as it is written.

What embeds them gets the same promises as the command line: the ledger, the cap, the settling.
Signals are the embedder's: give a `Stop` and call its `request`.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Unpack

import anyio
import anyio.to_thread

from batchsnap.client.ports import CredentialSource
from batchsnap.client.stopping import Stop
from batchsnap.cloud.endpoints import named
from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import Exit, UsageError, first_of_ours
from batchsnap.job.accounts import reached
from batchsnap.job.run import prepare
from batchsnap.job.spec import JobSpec, Result
from batchsnap.ledger.record import Record
from batchsnap.library.asked import Options, check_options
from batchsnap.manifest.reader import Manifest
from batchsnap.settings import SETTINGS

ManifestLike = str | Path | Iterable[Mapping[str, Any]]
"""A path ("-" is standard input), or rows by the names of a manifest's columns."""

UNREAD_MAX = 1000
"""So many records a reader may be behind before a stream's run waits for it."""


async def run(
    manifest: ManifestLike,
    *,
    ledger: str | Path,
    on_record: Callable[[Record], None] | None = None,
    **options: Unpack[Options],
) -> Result:
    """Make one snapshot for each row of a manifest, or go on where its ledger stands.

    Rows from memory are walked once, before anything is sent, in the thread of the caller. Of
    `options` those of `Settings` that are not given are the ledger's, else the defaults.
    `on_record` is called with every record that is taken, before it is durable, and must not block.

    Raises:
        TypeError: an option that there is not, or a value of another type; nothing was sent.
        ManifestError, UsageError: nothing was sent.
        CredentialsError: there are none; nothing was sent.
        LedgerError: nothing was sent after it.
        OtherVersion: one whose pace can't be seen is at work; nothing was sent.
    """
    return await _run(manifest, _spec(manifest, ledger, options), options, tap=on_record)


class Stream:
    """Records of a run, as they are taken; `result` once the iteration has ended."""

    def __init__(self) -> None:
        self.result: Result | None = None
        self._send, self._receive = anyio.create_memory_object_stream[Record](math.inf)
        self._room = anyio.Event()  # set while the reader is near enough
        self._room.set()

    def __aiter__(self) -> AsyncIterator[Record]:
        return self

    async def __anext__(self) -> Record:
        if self._unread <= UNREAD_MAX // 2:
            self._room.set()
        try:
            return await self._receive.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise StopAsyncIteration from None

    @property
    def _unread(self) -> int:
        return self._send.statistics().current_buffer_used

    def take(self, record: Record) -> None:
        """A record of the run; it is dropped where nobody reads any more."""
        with suppress(anyio.BrokenResourceError):
            self._send.send_nowait(record)
            if self._unread >= UNREAD_MAX and self._room.is_set():
                self._room = anyio.Event()

    async def room(self) -> None:
        """Wait until the reader is near enough."""
        await self._room.wait()

    def end(self) -> None:
        """The run is over: the iteration ends after what is unread."""
        self._send.close()

    def leave(self) -> None:
        """Nobody reads any more."""
        self._receive.close()
        self._room.set()


class _AtReadersPace:
    """Credentials that are given out only while the reader of a stream is near enough: each call
    begins with them, so nothing is begun for a reader that is far behind, and no call that is out
    is held up."""

    def __init__(self, source: CredentialSource, reader: Stream, stop: Stop) -> None:
        self._source = source
        self._reader = reader
        self._stop = stop

    async def get(self, profile: str) -> Credential:
        with self._stop.ends():  # after it nothing new is begun
            await self._reader.room()
        return await self._source.get(profile)

    def invalidate(self, profile: str) -> None:
        self._source.invalidate(profile)


@asynccontextmanager
async def stream(
    manifest: ManifestLike, *, ledger: str | Path, **options: Unpack[Options]
) -> AsyncIterator[Stream]:
    """`run` in the background, its records as an async iterator, of which a bounded number is
    unread: a run whose reader is far behind waits for it. Leaving the block early, or by an
    exception, drains: nothing more is sent, replies that are out are waited for.

    Raises:
        as `run` does, at the end of the block; an exception of the block as itself.
    """
    spec = _spec(manifest, ledger, options)
    stop = options["stop"] = options.get("stop") or Stop()
    opened = Stream()
    left: Exception | None = None

    async def work() -> None:
        try:
            opened.result = await _run(manifest, spec, options, tap=opened.take, reader=opened)
        finally:
            opened.end()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            try:
                yield opened
            except Exception as error:  # raised below: here it would cancel what is to drain
                left = error
            finally:
                opened.leave()
                if opened.result is None:
                    stop.request(Exit.UNFINISHED, "the reader left")
    except BaseExceptionGroup as group:
        if left is None:
            raise first_of_ours(group) from None
        raise left from first_of_ours(group)
    if left is not None:
        raise left


async def _run(
    manifest: ManifestLike,
    spec: JobSpec,
    options: Options,
    *,
    tap: Callable[[Record], None] | None,
    reader: Stream | None = None,
) -> Result:
    # Walked in the caller's thread: a database's cursor may be bound to it.
    rows = None if isinstance(manifest, str | Path) else Manifest.of_rows(manifest)
    prepared = await anyio.to_thread.run_sync(prepare, spec, rows)
    try:
        if prepared.finished is not None:
            return prepared.result()
        if tap is not None:
            prepared.taps.append(tap)
        stop = options.get("stop") or Stop()
        with reached(
            prepared.endpoint,
            prepared.settings.region,
            simulate=options.get("simulate") or False,
            given=options.get("credentials"),
        ) as (endpoint, source):
            credentials = source if reader is None else _AtReadersPace(source, reader, stop)
            return await prepared.execute(
                endpoint, credentials, stop, options.get("say") or _silent
            )
    except BaseExceptionGroup as group:
        raise first_of_ours(group) from None
    finally:
        prepared.close()


def _spec(manifest: ManifestLike, ledger: str | Path, options: Options) -> JobSpec:
    """What is asked for.

    Raises:
        TypeError: an option that there is not, or a value of another type.
        UsageError: a rehearsal, and an endpoint besides.
    """
    check_options(options)
    if not isinstance(manifest, str | Path | Iterable):
        kind = type(manifest).__name__
        raise TypeError(f"the manifest must be a path or an iterable of rows, not {kind}")
    if not isinstance(ledger, str | Path):
        raise TypeError(f"ledger must be a str or Path, not {type(ledger).__name__}")
    simulated = bool(options.get("simulate"))
    if simulated and (options.get("endpoint") or options.get("credentials")):
        raise UsageError("simulate reaches the built-in cloud alone: give no endpoint or keys")
    endpoint = options.get("endpoint") or os.environ.get("BATCHSNAP_ENDPOINT", "")
    return JobSpec(
        manifest=str(manifest) if isinstance(manifest, str | Path) else "rows",
        endpoint="" if simulated else named(endpoint),
        ledger=str(ledger),
        simulated=simulated,
        given={name: value for name, value in options.items() if name in SETTINGS},
        encoding=options.get("encoding"),
        retry_failed=options.get("retry_failed", False),
        wait=options.get("wait", False),
    )


def _silent(_text: str) -> None:
    """Talk that nobody asked for."""
