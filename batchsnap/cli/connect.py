"""Opens what a command needs of the cloud: the real one's credentials, or the built-in cloud."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import click

from batchsnap.cli.output import say
from batchsnap.errors import CredentialsError, Exit

if TYPE_CHECKING:
    from batchsnap.client.ports import CredentialSource
    from batchsnap.job.run import Prepared


_ASKED_FOR_S = 3.0  # it is good to know, and no question waits long for it
_SOURCES = {"env": "the environment", "profile": "profile", "file": "", "cvm-role": "the CVM role"}


async def open_cloud(
    stack: AsyncExitStack, prepared: Prepared, options: dict[str, Any]
) -> tuple[str, CredentialSource]:
    """(endpoint, credentials) of a run; what is opened closes with `stack`."""
    if prepared.spec.simulated:
        from batchsnap.job.accounts import rehearsed

        simulator, key = stack.enter_context(rehearsed())
        return simulator.url, key
    from batchsnap.cloud.credentials import chain

    return prepared.endpoint, chain(prepared.endpoint, prepared.settings.region)


async def keys_of(prepared: Prepared, *, whose: bool) -> list[str]:
    """`_keys_of`, which may wait for the network, under the signals that a run heeds.

    Raises:
        CredentialsError: there are none for any of them.
        click.exceptions.Exit: a signal came first.
    """
    from batchsnap.client.stopping import Stop, watch_signals

    stop = Stop()
    found: list[str] | CredentialsError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
        with stop.ends():
            try:
                found = await _keys_of(prepared, whose=whose)
            except CredentialsError as error:
                found = error
        tasks.cancel_scope.cancel()
    if isinstance(found, CredentialsError):
        raise found
    if found is None:
        say("stopped before anything was sent")
        raise click.exceptions.Exit(int(stop.exit or Exit.INTERRUPTED))
    return found


async def _keys_of(prepared: Prepared, *, whose: bool) -> list[str]:
    """Where the keys of each profile come from, in words; `whose`: of which account, too, where
    the policy lets that be asked.

    Raises:
        CredentialsError: there are none for any of them.
    """
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
        if whose:
            with anyio.move_on_after(_ASKED_FOR_S):
                region = prepared.settings.region
                found = await caller(credential, prepared.endpoint, region)
                source += f" (account {found.account})" if found is not None else ""
        said.append(source)
    if missing and not said:
        raise missing[0]
    return said + [f"none for some rows: {error}" for error in missing]
