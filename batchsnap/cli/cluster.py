"""`run` with a ledger in PostgreSQL, and what `work` shares with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import click

from batchsnap.cli.output import fail_softly, on_terminal, say, show
from batchsnap.errors import Exit

if TYPE_CHECKING:
    from batchsnap.cluster.run import KnownRun
    from batchsnap.cluster.worker import Offer
    from batchsnap.job.run import Prepared
    from batchsnap.job.spec import JobSpec, Result
    from batchsnap.postgres.address import Address

_PLAIN_S = 10.0


def run_together(spec: JobSpec, options: dict[str, Any]) -> int:
    """Load the manifest, or join the run that is there, and work on it."""
    from batchsnap.cluster.run import check_spec, conclude, is_edited, known, take_up
    from batchsnap.postgres.address import dated, given, need_ledger

    check_spec(spec)
    address = need_ledger(given(dated(spec.ledger)))
    there = known(address)
    if there is not None and there.ledger.phase == "finished" and spec.new:
        address, there = _following(address)
    edited = there is not None and is_edited(there, spec)
    finished = there is not None and there.ledger.phase == "finished"
    if there is not None and finished and not edited and not spec.retry_failed:
        result = conclude(address, there)
        awaited = spec.wait and result.summary.accepted
        if not result.summary.gave_up and not awaited:  # else there is something to try, or await
            say(f"finished at {_end(there)}; nothing is left to do. --new starts another run")
            return show_result(result, as_json=options["as_json"])
    if there is not None and not edited:
        take_up(address, there, spec)
        say(f"joins the run of {address.label}")
        say_cautions(address)
    result = anyio.run(partial(_run, address, there, spec, options, edited=edited))
    return show_result(result, as_json=options["as_json"])


def _end(there: KnownRun) -> str:
    return there.fold.ended["at"] if there.fold.ended is not None else "some time"


def _following(address: Address) -> tuple[Address, KnownRun | None]:
    """The next ledger of its series that is not finished, or not there yet."""
    from itertools import count

    from batchsnap.cluster.run import known

    for number in count(2):
        following = address.of(f"{address.ledger}.{number}")
        there = known(following)
        if there is None or there.ledger.phase != "finished":
            return following, there
    raise AssertionError


async def _run(
    address: Address,
    there: KnownRun | None,
    spec: JobSpec,
    options: dict[str, Any],
    *,
    edited: bool,
) -> Result:
    from batchsnap.cloud.credentials import Credentials
    from batchsnap.cloud.transport import get_unsigned
    from batchsnap.cluster.run import known
    from batchsnap.cluster.worker import Bound, Offer

    credentials = Credentials(get_unsigned)
    if there is None:
        await _load(address, spec, options, credentials)
    elif edited:
        await _edit(address, spec, options, credentials)
    there = known(address)
    assert there is not None
    bound = Bound(0 if options["no_work"] else options["max_quotas"])
    offer = Offer(credentials, bound, spec.waits)
    return await working(address, there, offer, options, say)


async def _load(address: Address, spec: JobSpec, options: dict[str, Any], credentials: Any) -> None:
    from batchsnap.cluster.run import load_run, prepare_load
    from batchsnap.job.preview import warnings

    with ExitStack() as stack:
        prepared = prepare_load(address, spec)
        stack.callback(prepared.close)
        for text in warnings(prepared):
            fail_softly(text)
        _ask(prepared, address, yes=options["yes"])
        await load_run(address, prepared, credentials)
    say(f"loaded {prepared.intake.rows:,} rows into {address.label}")


async def _edit(address: Address, spec: JobSpec, options: dict[str, Any], credentials: Any) -> None:
    from batchsnap.cluster.edit import prepare_edit, take_edit
    from batchsnap.job.preview import warnings

    with ExitStack() as stack:
        prepared, sink = prepare_edit(address, spec)
        stack.callback(prepared.close)
        for text in warnings(prepared):
            fail_softly(text)
        _ask(prepared, address, yes=options["yes"])
        await take_edit(address, prepared, sink, credentials, retry_failed=spec.retry_failed)
    say(f"the edited manifest is taken in: {prepared.intake.to_do.total():,} rows are left")


def _ask(prepared: Prepared, address: Address, *, yes: bool) -> None:
    """One question, on a terminal, before money is spent."""
    say(f"{prepared.intake.to_do.total():,} snapshots; ledger {address.label}")
    if prepared.guess:
        say(prepared.guess)
    if not yes and on_terminal() and sys.stdin.isatty():
        click.confirm("Snapshots cost money. Go on?", abort=True, err=True)


def say_cautions(address: Address) -> None:
    """What whoever joins should hear of the database; whoever loads hears it with the rest."""
    from batchsnap.postgres.store import DatabaseStore

    for text in DatabaseStore(address).warnings():
        fail_softly(text)


async def working(
    address: Address,
    there: KnownRun,
    offer: Offer,
    options: dict[str, Any],
    talk: Callable[[str], None],
) -> Result:
    """Work, with signals and a line now and then; leaves with 130 or 143 where it is cut off."""
    from batchsnap.client.stopping import Stop, watch_signals
    from batchsnap.cluster.run import work_on

    stop, result = Stop(), None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
        if not options.get("quiet"):
            tasks.start_soon(_lines, address, talk)
        result = await work_on(address, there, offer, stop, talk)
        tasks.cancel_scope.cancel()
    if result is None:
        raise click.exceptions.Exit(int(stop.exit or Exit.INTERRUPTED))
    return result


async def _lines(address: Address, talk: Callable[[str], None]) -> None:
    """The whole run, a line now and then."""
    from batchsnap.cli.progress import Frame, line
    from batchsnap.errors import LedgerError
    from batchsnap.owners.view import RunView
    from batchsnap.postgres.store import DatabaseStore
    from batchsnap.report.progress import progress_of, why

    view = RunView(DatabaseStore(address))
    try:
        while True:
            await anyio.sleep(_PLAIN_S)
            with suppress(LedgerError):
                await anyio.to_thread.run_sync(view.catch_up)
                progress = progress_of(view.fold, time.time(), alive=True)
                talk(line(Frame(progress, 0.0, "", why(view.fold, time.time()))))
    finally:
        view.close()


def show_result(result: Result, *, as_json: bool) -> int:
    """Print the summary; the exit code."""
    from batchsnap.cli.commands.run import MEANING
    from batchsnap.report.summary import summary_json, summary_text

    text = summary_json(result.summary) if as_json else summary_text(result.summary)
    code = show(text, result.exit, talk=not as_json)
    if not as_json and result.exit is not Exit.DONE:
        say(f"exit {int(result.exit)}: {MEANING[result.exit]}")
        say(f"details: batchsnap status {result.ledger}")
    return code
