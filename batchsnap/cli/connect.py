"""Opens what a command needs of the cloud: the real one's credentials, or the built-in cloud."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio

from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import CredentialsError

if TYPE_CHECKING:
    from batchsnap.client.ports import CredentialSource
    from batchsnap.job.run import Prepared
    from batchsnap.simulator.scenario import Scenario


_ASKED_FOR_S = 3.0  # it is good to know, and no question waits long for it
_SOURCES = {"env": "the environment", "profile": "profile", "file": "", "cvm-role": "the CVM role"}


class SimulatedCredentials:
    """The built-in cloud's one key, for every profile."""

    def __init__(self, secret_id: str, secret_key: str) -> None:
        self._credential = Credential(secret_id, secret_key, "", "simulated", None)

    async def get(self, profile: str) -> Credential:
        return self._credential

    def invalidate(self, profile: str) -> None:
        """Nothing to fetch anew."""


async def open_cloud(
    stack: AsyncExitStack, prepared: Prepared, options: dict[str, Any]
) -> tuple[str, CredentialSource]:
    """(endpoint, credentials) of a run; what is opened closes with `stack`."""
    if prepared.spec.simulated:
        return open_simulator(stack, None)
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


def open_simulator(
    stack: AsyncExitStack, scenario: Scenario | None
) -> tuple[str, SimulatedCredentials]:
    """A built-in cloud in its own thread."""
    from batchsnap.simulator.auth import DEFAULT_KEYS
    from batchsnap.simulator.server import EmbeddedSimulator

    simulator = stack.enter_context(EmbeddedSimulator(scenario))
    [(secret_id, secret_key)] = DEFAULT_KEYS.items()
    return simulator.url, SimulatedCredentials(secret_id, secret_key)
