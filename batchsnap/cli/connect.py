"""Opens what a command needs of the cloud: the real one's credentials, or the built-in cloud."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from batchsnap.cloud.tc3 import Credential

if TYPE_CHECKING:
    from batchsnap.client.ports import CredentialSource
    from batchsnap.job.run import Prepared
    from batchsnap.simulator.scenario import Scenario


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


def open_simulator(
    stack: AsyncExitStack, scenario: Scenario | None
) -> tuple[str, SimulatedCredentials]:
    """A built-in cloud in its own thread."""
    from batchsnap.simulator.auth import DEFAULT_KEYS
    from batchsnap.simulator.server import EmbeddedSimulator

    simulator = stack.enter_context(EmbeddedSimulator(scenario))
    [(secret_id, secret_key)] = DEFAULT_KEYS.items()
    return simulator.url, SimulatedCredentials(secret_id, secret_key)
