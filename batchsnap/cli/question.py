"""The one question before money is spent, and what it stands on: where, by whom, for how long."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from batchsnap.cli.output import on_terminal, say

if TYPE_CHECKING:
    from batchsnap.job.run import Prepared


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

    from batchsnap.cli.connect import keys_of
    from batchsnap.job.preview import eta_s
    from batchsnap.plan import counted, duration_text
    from batchsnap.settings import written

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
        keys = anyio.run(partial(keys_of, prepared, whose=whose))
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
