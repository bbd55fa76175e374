"""Opens what a command needs of the cloud: the real one's credentials, or the built-in cloud."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio

from batchsnap.errors import CredentialsError

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
