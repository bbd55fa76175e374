"""`run` with a ledger in PostgreSQL, and what `work` shares with it."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import click

from batchsnap.cli.output import fail_softly, note, say
from batchsnap.errors import Exit, IllegalMove, LedgerAway, LedgerError, UsageError
from batchsnap.settings import counted

if TYPE_CHECKING:
    from batchsnap.cluster.run import Conclusion, KnownRun
    from batchsnap.cluster.worker import Offer
    from batchsnap.job.spec import JobSpec
    from batchsnap.owners.view import RunView
    from batchsnap.postgres.address import Address
    from batchsnap.report.progress import Glance

_BREATH_S = 0.005
_SILENT_S = 10.0  # without an answer a server is taken for frozen


def run_together(spec: JobSpec, options: dict[str, Any]) -> int:
    """Load the manifest, or join the run that is there, and work on it."""
    from batchsnap.cli.commands.run import typed
    from batchsnap.cluster.run import check_spec, conclude, is_edited, known
    from batchsnap.postgres.address import dated, given, need_ledger

    check_spec(spec)
    same = typed()
    address = need_ledger(given(dated(spec.ledger)))
    there = known(address)
    if there is not None and there.ledger.phase == "finished" and spec.new:
        address, there = _following(address)
    if there is None and spec.ask_first:
        raise UsageError(f"there is no ledger {address.ledger} that could have been put back")
    edited = there is not None and is_edited(there, spec)
    finished = there is not None and there.ledger.phase == "finished"
    if there is not None and finished and not edited and not (spec.retry_failed or spec.ask_first):
        end = conclude(address, there)
        awaited = spec.wait and end.result.summary.accepted
        # Else there is something to try, or to await.
        if not end.result.summary.gave_up and not awaited:
            note(f"finished at {_end(there)}; nothing is left to do. --new starts another run")
            return show_result(end, as_json=options["as_json"], same=same)
    if there is not None and not edited:
        _join(address, there, spec, options)
    else:
        _take_in(address, spec, options, edited=there)
    there = known(address)
    assert there is not None
    end = anyio.run(_run, address, there, spec, options)
    return show_result(end, as_json=options["as_json"], same=same)


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


def _join(address: Address, there: KnownRun, spec: JobSpec, options: dict[str, Any]) -> None:
    """Go on with the run that is there; who would be the first to asks, as with a file."""
    from batchsnap.cli.question import ask, asks
    from batchsnap.cluster.edit import look
    from batchsnap.cluster.run import take_up
    from batchsnap.postgres.store import DatabaseStore

    # Whoever isn't asked isn't kept waiting either: all records are read for it.
    if asks(options) and not (there.is_open and DatabaseStore(address).held()):
        with closing(look(address, spec)) as prepared:
            ask(prepared, options)
    owned = take_up(address, there, spec)
    note(f"joins the run of {address.label}")
    if owned:
        fail_softly(
            f"others work on {counted(owned, 'quota')} and go on as they were told: what is "
            "given now counts for what is claimed from now on. Where it must count at once, "
            "`batchsnap stop` first"
        )
    say_cautions(address)


def _take_in(
    address: Address, spec: JobSpec, options: dict[str, Any], *, edited: KnownRun | None
) -> None:
    """Load the manifest, or that of a run that is there and was `edited`."""
    from batchsnap.cli.question import ask, caution
    from batchsnap.cloud.credentials import chain
    from batchsnap.cluster.edit import prepare_edit, take_edit
    from batchsnap.cluster.run import load_run, prepare_load

    sink = None
    with ExitStack() as stack:
        if edited is not None:
            prepared, sink = prepare_edit(address, edited, spec)
        else:
            prepared = prepare_load(address, spec)
        stack.callback(prepared.close)
        caution(prepared)
        ask(prepared, options)
        credentials = chain(prepared.endpoint, prepared.settings.region)
        if sink is None:
            anyio.run(load_run, address, prepared, credentials)
            note(f"loaded {counted(prepared.intake.rows, 'row')} into {address.label}")
        else:
            taken = partial(take_edit, retry_failed=spec.retry_failed)
            anyio.run(taken, address, prepared, sink, credentials)
            left = counted(prepared.intake.to_do.total(), "row")
            note(f"the edited manifest is taken in: {left} to do")


async def _run(
    address: Address, there: KnownRun, spec: JobSpec, options: dict[str, Any]
) -> Conclusion:
    from batchsnap.cloud.credentials import chain
    from batchsnap.cluster.machine import Machine
    from batchsnap.cluster.worker import Offer

    machine = Machine(0 if options["no_work"] else options["max_quotas"], note)
    offer = Offer(chain, machine, spec.waits)
    return await working(address, there, offer, options, whole=True)


def say_cautions(address: Address) -> None:
    """What whoever joins should hear of the database; whoever loads hears it with the rest."""
    from batchsnap.postgres.store import DatabaseStore

    for text in DatabaseStore(address).warnings():
        fail_softly(text)


async def working(
    address: Address, there: KnownRun, offer: Offer, options: dict[str, Any], *, whole: bool
) -> Conclusion:
    """Work, with signals and the view: of the `whole` run, or of what this machine owns; leaves
    with 130 or 143 where it is cut off."""
    from batchsnap.cli.metrics import measured_machine, serving
    from batchsnap.cli.progress import shown
    from batchsnap.client.stopping import Stop, watch_signals
    from batchsnap.cluster.run import work_on

    stop, machine, onlooker = Stop(), offer.machine, Onlooker(address)
    end: Conclusion | None = None
    with serving(measured_machine(machine), options["metrics_port"]):
        sight = onlooker.look if whole else machine.sight
        async with shown(sight, machine.taps, stop, options) as tasks:
            tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
            try:
                end = await work_on(address, there, offer, stop, say)
            finally:
                onlooker.leave()
    if end is None:
        raise click.exceptions.Exit(int(stop.exit or Exit.INTERRUPTED))
    return end


class Onlooker:
    """Looks at the whole run, beside the work: it reads the ledger in a thread of its own. Whatever
    becomes of that, the work goes on."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._view = self._new_view()
        self._heard = 0.0
        self._lost = ""  # why nothing more can be shown
        self._left = self._began = self._anew = False

    def _new_view(self) -> RunView:
        from batchsnap.owners.view import RunView
        from batchsnap.postgres.store import DatabaseStore

        store = DatabaseStore(self._address)
        return RunView(store, store.follow(primary=True))

    async def look(self, now: float) -> Glance:
        """How it is doing at `now` (Unix seconds)."""
        self._heard = time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cut)
            glance = await anyio.to_thread.run_sync(self._look, now, abandon_on_cancel=True)
            tasks.cancel_scope.cancel()
        for text in self._view.takeovers() if self._began else []:  # those of earlier are no news
            note(text)
        self._began = True
        return glance

    async def _cut(self) -> None:
        """End a question that a server which stands still does not answer: another may."""
        while True:
            left_s = self._heard + _SILENT_S - time.monotonic()
            if left_s <= 0:
                break
            await anyio.sleep(left_s)
        self._view.close()

    def _look(self, now: float) -> Glance:
        from batchsnap.report.progress import look_at

        away = self._lost
        try:
            if not away:
                self._view.catch_up(self._breathe)
                self._anew = False
        except LedgerError as error:
            away = str(error)
        except IllegalMove as error:  # a failover took back what was read; but not twice
            self._lost = f"can't be shown: {error}" if self._anew else ""
            self._view.close()
            self._view, self._anew = self._new_view(), True
            away = self._lost or "the ledger is read anew"
        seen = look_at(self._view.fold, now)
        return seen._replace(why=away or seen.why, quotas=tuple(self._view.quotas(now)))

    def _breathe(self) -> None:
        """Between records: whoever works on the run has the processor."""
        if self._left:
            raise LedgerAway("nobody looks any more")
        self._heard = time.monotonic()
        time.sleep(_BREATH_S)

    def leave(self) -> None:
        """Nobody looks any more."""
        self._left = True
        self._view.close()


def show_result(end: Conclusion, *, as_json: bool, same: str) -> int:
    """What came of a run on many machines; `same` is the command that goes on with it."""
    from batchsnap.cli.commands.run import next_command, tell_end

    result = end.result
    following = next_command(result, same)
    return tell_end(end.fold, result, result.exit, following, quotas=end.quotas, as_json=as_json)


def same_command(there: KnownRun, end: Conclusion) -> str:
    """What goes on with the run: this one where it was told to leave, else that of the machine
    that has its manifest."""
    from batchsnap.cli.commands.run import typed

    if end.result.exit in {Exit.INTERRUPTED, Exit.TERMINATED}:
        return typed()
    manifest = str(there.fold.manifest["path"])
    return shlex.join(["batchsnap", "run", manifest, "--ledger", end.result.ledger])
