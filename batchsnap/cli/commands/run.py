"""`batchsnap run`: what is asked for, one question before money is spent, the result in words."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from batchsnap.cli.options import (
    MANIFEST,
    Region,
    cloud_options,
    given_of,
    option,
    setting,
    stacked,
    verbosity,
)
from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import note, say, show
from batchsnap.cli.question import ask, asks, caution
from batchsnap.errors import Exit, UsageError
from batchsnap.lifecycle import Event

if TYPE_CHECKING:
    from batchsnap.client.stopping import Stop
    from batchsnap.job.run import Prepared
    from batchsnap.job.spec import JobSpec, Result
    from batchsnap.ledger.record import Record
    from batchsnap.ledger.replay import Fold
    from batchsnap.owners.quotas import QuotaLine

_REASONS_SHOWN = 3


def run_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What a run can be told; None means: as the ledger says, else the default."""
    return stacked(
        option(
            "--ledger",
            metavar="PATH|URL",
            help="Default: MANIFEST.ledger.jsonl; may hold {date}; or postgresql://HOST/DB/LEDGER.",
        ),
        option(
            "--max-quotas",
            type=click.IntRange(1),
            default=100,
            metavar="N",
            help="At most, with a ledger in PostgreSQL. [default: 100]",
        ),
        option("--ask-first", is_flag=True, help="The database was put back: ask before sending."),
        option("--no-work", is_flag=True, help="Load it into PostgreSQL, and look on."),
        option("--new", is_flag=True, help="Start a new run beside a finished one."),
        setting("region", "For rows without one.", type=Region(), metavar="R"),
        cloud_options(),
        setting("rate_per_s", "Calls a second per quota."),
        setting("api_limit_per_s", "What support raised the cap to."),
        setting("strict", "Never throttled, 10-15 % slower."),
        setting("max_in_flight", "Calls out at once per quota."),
        setting("max_creating", "Snapshots being made at once; 0: no bound."),
        setting("name", "{disk_id} {region} {date} {time} {run} {id}.", metavar="TEMPLATE"),
        setting("expire_after_s", "Delete by itself, e.g. 30d."),
        setting("tags", "On each snapshot.", metavar="K=V"),
        setting("retry_for_s", "For a busy row."),
        setting("settle_for_s", "For a doubt."),
        _bounds(),
    )


def _bounds() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """When a run stops short, what it takes up, and how it speaks."""
    return stacked(
        setting("max_errors", "Halt when so many rows failed.", metavar="N|N%"),
        setting("canary", "Make N first and wait until they are ready.", metavar="N"),
        setting("max_duration_s", "Stop feeding after it."),
        setting("unless_newer_than_s", "Skip rows whose disk has a younger snapshot, e.g. 12h."),
        option("--retry-failed", is_flag=True, help="Take up rejected rows again."),
        option("--wait", is_flag=True, help="Until every snapshot is ready."),
        option("--encoding", metavar="NAME", help="Of the manifest, where it can't be told."),
        option(
            "--metrics-port",
            type=click.IntRange(1, 65535),
            metavar="N",
            help="Serve Prometheus metrics.",
        ),
        option("--simulate", is_flag=True, help="Rehearse against the built-in cloud."),
        option("--yes", is_flag=True, help="Do not ask."),
        option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object."),
        verbosity(),
    )


def spec_of(manifest: str, options: dict[str, Any]) -> JobSpec:
    """What the options ask for."""
    from batchsnap.job.spec import JobSpec

    return JobSpec(
        manifest=manifest,
        endpoint=options.get("endpoint") or "",
        ledger=options.get("ledger") or "",
        new=options.get("new", False),
        simulated=options.get("simulate", False),
        given=given_of(options),
        retry_failed=options.get("retry_failed", False),
        wait=options.get("wait", False),
        ask_first=options.get("ask_first", False),
        encoding=options.get("encoding"),
        copy_to=options.get("copy_to", ""),
    )


@new_command("run")
@click.argument("manifest", metavar="MANIFEST", type=MANIFEST)
@run_options()
@click.option("--dry-run", is_flag=True, hidden=True, help="What `plan` does.")
def command(manifest: str, *, dry_run: bool, **options: Any) -> int:
    """Make one snapshot for each row of MANIFEST ("-" is standard input).

    The same command again is always safe: it goes on where the ledger stands.
    """
    if dry_run:
        from batchsnap.cli.commands.plan import show_plan

        return show_plan(manifest, options)
    from batchsnap.postgres.address import is_postgres

    spec = replace(spec_of(manifest, options), looked_at=asks(options))
    if is_postgres(spec.ledger):
        from batchsnap.cli.cluster import run_together

        return run_together(spec, options)
    if spec.ask_first:
        raise UsageError(
            "--ask-first is for a ledger in PostgreSQL: a file that was put back or copied is "
            "noticed, and asked about, by itself"
        )
    if options["no_work"]:
        raise UsageError(
            "--no-work is for a ledger in PostgreSQL: nobody else works on a file. To look at its "
            "run, batchsnap status LEDGER --watch; to send nothing, batchsnap plan MANIFEST"
        )
    return run_here(spec, options)


def run_here(spec: JobSpec, options: dict[str, Any]) -> int:
    """A run, of copies too, with its ledger in a file: from its manifest to what came of it."""
    import anyio

    from batchsnap.cli.metrics import measured_run, serving
    from batchsnap.job.run import prepare

    with ExitStack() as stack:
        prepared = prepare(spec)
        stack.callback(prepared.close)
        caution(prepared)
        made = Made()
        prepared.taps.append(made.take)
        if (finished := prepared.finished) is not None:
            more = "" if spec.copy_to else ". --new starts another run"
            note(f"finished at {finished['at']}; nothing is left to do{more}")
            code = finished["exit"]
            return show_end(prepared, prepared.result(), code, made, as_json=options["as_json"])
        stack.enter_context(serving(measured_run(prepared), options.get("metrics_port")))
        ask(prepared, options)
        result: Result = anyio.run(partial(run_prepared, prepared, options))
    return show_end(prepared, result, result.exit, made, as_json=options["as_json"])


class Made:
    """How many snapshots this command made, or found to be its rows'."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, record: Record) -> None:
        self.count += record["event"] == Event.ACCEPTED


async def run_prepared(prepared: Prepared, options: dict[str, Any]) -> Result:
    from batchsnap.cli.progress import showing
    from batchsnap.client.stopping import Stop, watch_signals
    from batchsnap.job.accounts import reached

    simulate, region = prepared.spec.simulated, prepared.settings.region
    stop, result = Stop(), None
    with reached(prepared.endpoint, region, simulate=simulate) as (endpoint, credentials):
        async with showing(prepared, stop, options) as tasks:
            tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
            result = await prepared.execute(endpoint, credentials, stop, say)
    return result or cut_off(prepared, stop)


def cut_off(prepared: Prepared, stop: Stop) -> Result:
    """How a run stands that a second signal ended.

    Raises:
        click.exceptions.Exit: there is no ledger yet, so nothing was sent.
    """
    if prepared.ledger is None:
        say("stopped before anything was sent")
        raise click.exceptions.Exit(int(stop.exit or Exit.INTERRUPTED))
    return prepared.result(stop)


def show_end(prepared: Prepared, result: Result, earned: int, made: Made, *, as_json: bool) -> int:
    """What came of a run with its ledger in a file."""
    following = next_command(result, typed(), simulated=prepared.spec.simulated)
    code = tell_end(prepared.fold, result, earned, following, as_json=as_json)
    if not made.count:  # last, where a nightly's log is looked at
        say(f"no new snapshot was made; ledger {result.ledger}")
    return code


def tell_end(
    fold: Fold,
    result: Result,
    earned: int,
    following: str,
    *,
    quotas: Sequence[QuotaLine] = (),
    as_json: bool,
) -> int:
    """What came of a run, why rows have no snapshot, which quotas are left by whom, and the
    command to type now."""
    from batchsnap.owners.quotas import quota_lines
    from batchsnap.report.summary import outcomes_of, reasons_of, summary_json, summary_text

    if as_json:
        text = summary_json(result.summary, quotas)
    else:
        reasons = reasons_of(outcomes_of(fold), most=_REASONS_SHOWN)
        told = quota_lines(quotas, fold.tally.heard) if earned else []
        text = "\n".join((summary_text(result.summary, reasons), *told))
    code = show(text, earned, talk=not as_json)
    if not as_json and result.exit is not Exit.DONE:
        again = "the same command again" if following == typed() else following
        say(f"exit {int(result.exit)}: {MEANING[result.exit].format(again=again)}")
        say(f"details: batchsnap status {shlex.quote(result.ledger)}")
    if not as_json:
        note(f"next: {following}")
    return code


def typed() -> str:
    """The command that this process is."""
    return shlex.join(["batchsnap", *sys.argv[1:]])


def next_command(result: Result, same: str, *, simulated: bool = False) -> str:
    """The command to type now; `same` is the one that goes on with the run."""
    ledger = shlex.quote(result.ledger)
    if result.exit is Exit.DONE:
        if result.summary.accepted and not simulated:
            return f"batchsnap wait {ledger} (until all are ready)"
        return f"batchsnap report {ledger} -o report.html"
    if result.exit is Exit.SOME_FAILED and "--retry-failed" not in sys.argv:
        return f"{same} --retry-failed (once the causes are mended)"
    return same


MEANING = {
    Exit.DONE: "every row has its snapshot",
    Exit.SOME_FAILED: "ran to the end, some rows have no snapshot, or one too many",
    Exit.HALTED: "halted; mend the cause and run {again}",
    Exit.UNFINISHED: "unfinished; run {again}",
    Exit.INTERRUPTED: "interrupted and drained; run {again}",
    Exit.TERMINATED: "terminated and drained; run {again}",
}
