"""What `settle`, `wait` and `rollback` share: a ledger taken up again, and its way to the cloud."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchsnap.cli.options import (
    Decorator,
    cloud_options,
    given_of,
    ledger_argument,
    setting,
    stacked,
    verbosity,
)
from batchsnap.cli.output import say, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchsnap.client.ports import CredentialSource
    from batchsnap.client.stopping import Stop
    from batchsnap.job.reopen import Reopened
    from batchsnap.job.spec import Result

_Answer = TypeVar("_Answer")


def ledger_options() -> Decorator:
    """LEDGER and what may override its settings."""
    return stacked(
        ledger_argument(),
        cloud_options(),
        setting("settle_for_s", "For a doubt."),
        setting("max_duration_s", "Give up after it."),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
        verbosity(),
    )


@contextmanager
def reopened(ledger: str, options: dict[str, Any]) -> Iterator[Reopened]:
    """The ledger, locked while the block runs."""
    from batchsnap.job.preview import raised
    from batchsnap.job.reopen import Reopened
    from batchsnap.job.spec import store_at

    opened = Reopened(
        store_at(ledger).open(),
        endpoint=options.get("endpoint") or "",
        given=given_of(options),
    )
    try:
        for text in raised(opened.fold, opened.settings):
            say(text)
        yield opened
    finally:
        opened.close()


def with_cloud(
    opened: Reopened,
    options: dict[str, Any],
    action: Callable[[CredentialSource, Stop, Callable[[str], None]], Awaitable[_Answer]],
) -> _Answer:
    """Run `action` with credentials and signals; leaves with 130 or 143 where it is cut off."""
    import anyio

    return anyio.run(partial(_with_cloud, opened, options, action))


async def _with_cloud(
    opened: Reopened,
    options: dict[str, Any],
    action: Callable[[CredentialSource, Stop, Callable[[str], None]], Awaitable[_Answer]],
) -> _Answer:
    from batchsnap.cli.progress import tapped
    from batchsnap.client.stopping import Stop, watch_signals
    from batchsnap.cloud.credentials import chain

    stop = Stop()
    async with tapped(opened.taps, options) as tasks:
        tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
        credentials = chain(opened.endpoint, opened.settings.region)
        return await action(credentials, stop, say)
    raise click.exceptions.Exit(int(stop.exit or 130))


def show_result(result: Result, *, as_json: bool) -> int:
    """Print the summary; the exit code."""
    from batchsnap.report.summary import summary_json, summary_text

    text = summary_json(result.summary) if as_json else summary_text(result.summary)
    return show(text, result.exit, talk=not as_json)
