"""What is said before money is spent: what to beware of, and the one question, with what it stands
on: where, by whom, for how long."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from batchsnap.cli.output import fail_softly, note, on_terminal, say
from batchsnap.errors import CredentialsError, Exit

if TYPE_CHECKING:
    from batchsnap.job.run import Prepared

_KEYS_SHOWN = 5  # of as many it is asked whose they are
_ASKED_FOR_S = 3.0  # it is good to know, and no question waits long for it
_SOURCES = {"env": "the environment", "profile": "profile", "file": "", "cvm-role": "the CVM role"}


def caution(prepared: Prepared) -> None:
    """Say what a careful person should hear before a run begins."""
    from batchsnap.job.preview import warnings

    for text in warnings(prepared):
        fail_softly(text)
    if ignored := prepared.manifest.ignored:
        note(f"ignored columns: {', '.join(ignored)}")


def ask(prepared: Prepared, options: dict[str, Any]) -> None:
    """One question, on a terminal, before money is spent, and what it stands on.

    Raises:
        CredentialsError: there are no keys, so there is nothing to ask.
    """
    if not prepared.intake.to_do:
        return
    asked = asks(options)
    if asked or not options["quiet"]:
        for text in _facts(prepared, whose=asked):
            say(text)
    if asked:
        things = "Copies" if prepared.spec.copy_to else "Snapshots"
        click.confirm(f"{things} cost money. Go on?", abort=True, err=True)


def asks(options: dict[str, Any]) -> bool:
    """Whether there is somebody who is asked."""
    sure = options["yes"] or options.get("simulate")
    return not sure and on_terminal() and sys.stdin.isatty()


def _facts(prepared: Prepared, *, whose: bool) -> list[str]:
    """What is about to be made, where, by whom, for how long."""
    import anyio

    from batchsnap.job.preview import eta_s
    from batchsnap.settings import counted, duration_text, written

    intake, settings = prepared.intake, prepared.settings
    number, regions = intake.to_do.total(), len({region for _, region in intake.to_do})
    to = prepared.spec.copy_to
    what = f"{counted(number, 'snapshot')} in {counted(regions, 'region')}"
    if to:
        what += f", to be copied to {to}"
    if prepared.resumed:
        what += f" ({counted(intake.done, 'row')} done, {intake.doubts:,} to be settled first)"
    lines = [f"{what}; ledger {prepared.store.label}"]
    if not prepared.spec.simulated:
        keys = anyio.run(partial(_keys_of, prepared, whose=whose))
        lines.append(f"  to {prepared.endpoint}, keys from {'; '.join(keys)}")
    kept = f"the cloud deletes each {written(settings.expire_after_s)} later"
    if not settings.expire_after_s:
        kept = "kept until somebody deletes them, but for rows with a Deadline"
    if to:
        kept = (
            "copies have no Deadline and no tags, are kept until somebody deletes them, and the "
            "traffic between regions is charged too"
        )
    took = duration_text(eta_s(intake, prepared.endpoint, settings))
    lines.append(f"  sent within {took} at best; {kept}")
    return lines + [f"  {text}" for text in (intake.images, prepared.guess) if text]


async def _keys_of(prepared: Prepared, *, whose: bool) -> list[str]:
    """`_found_keys`, which may wait for the network, under the signals that a run heeds.

    Raises:
        CredentialsError: there are none for any of them.
        click.exceptions.Exit: a signal came first.
    """
    import anyio

    from batchsnap.client.stopping import Stop, watch_signals

    stop = Stop()
    found: list[str] | CredentialsError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
        with stop.ends():
            try:
                found = await _found_keys(prepared, whose=whose)
            except CredentialsError as error:
                found = error
        tasks.cancel_scope.cancel()
    if isinstance(found, CredentialsError):
        raise found
    if found is None:
        say("stopped before anything was sent")
        raise click.exceptions.Exit(int(stop.exit or Exit.INTERRUPTED))
    return found


async def _found_keys(prepared: Prepared, *, whose: bool) -> list[str]:
    """Where the keys of each profile come from, in words, of many of the first few; `whose`: of
    which account, too, where the policy lets that be asked.

    Raises:
        CredentialsError: there are none for any of them.
    """
    import anyio

    from batchsnap.cloud.credentials import chain
    from batchsnap.job.accounts import caller

    credentials = chain(prepared.endpoint, prepared.settings.region)
    said: list[str] = []
    missing: list[CredentialsError] = []
    for profile in sorted({profile for profile, _ in prepared.intake.to_do}):
        try:
            credential = await credentials.get(profile)
        except CredentialsError as error:
            missing.append(error)
            continue
        kind, _, name = credential.source.partition(":")
        source = f"{_SOURCES.get(kind, kind)} {name}".strip()
        if whose and len(said) < _KEYS_SHOWN:
            with anyio.move_on_after(_ASKED_FOR_S):
                region = prepared.settings.region
                found = await caller(credential, prepared.endpoint, region)
                source += f" (account {found.account})" if found is not None else ""
        said.append(source)
    if missing and not said:
        raise missing[0]
    if (more := len(said) - _KEYS_SHOWN) > 0:
        said[_KEYS_SHOWN:] = [f"{more} more"]
    return said + [f"none for some rows: {error}" for error in missing]
