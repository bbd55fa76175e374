"""Whose credentials a run uses, and the region that their owner works in by default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from batchsnap.client.ports import CredentialSource
from batchsnap.cloud.credentials import STS_REGION, StaticCredentials, chain, region_here
from batchsnap.cloud.roles import Caller, Sts
from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import CredentialsError
from batchsnap.manifest.cells import region_flaw
from batchsnap.model import RegionKey
from batchsnap.settings import Settings

if TYPE_CHECKING:
    from batchsnap.simulator.scenario import Scenario
    from batchsnap.simulator.server import EmbeddedSimulator

_ASKED_FOR_S = 10.0


def placed(settings: Settings) -> tuple[Settings, str]:
    """(settings with a region for rows that name none, the place that named it). What was given
    or stands in the ledger comes first, then TENCENTCLOUD_REGION, then tccli's profile; "" where
    the settings had one, or there is none."""
    if settings.region:
        return settings, ""
    region, place = region_here(settings.profile)
    if not region or region_flaw(region):
        return settings, ""
    return replace(settings, region=region), place


def where_from(regions: Iterable[RegionKey], settings: Settings, place: str) -> list[str]:
    """A word about a region that nobody gave, where rows are to be sent to it."""
    if not place or settings.region not in {region for _, region in regions}:
        return []
    return [f"rows that name no region are taken to be in {settings.region}, as {place} says"]


@contextmanager
def rehearsed(
    scenario: Scenario | None = None,
) -> Iterator[tuple[EmbeddedSimulator, StaticCredentials]]:
    """A built-in cloud in its own thread, with its one key, while the block runs."""
    from batchsnap.simulator.auth import DEFAULT_KEYS
    from batchsnap.simulator.server import EmbeddedSimulator

    [(secret_id, secret_key)] = DEFAULT_KEYS.items()
    with EmbeddedSimulator(scenario) as simulator:
        yield simulator, StaticCredentials(secret_id, secret_key, source="simulated")


@contextmanager
def reached(
    endpoint: str,
    region: str,
    *,
    simulate: bool | Scenario = False,
    given: CredentialSource | None = None,
) -> Iterator[tuple[str, CredentialSource]]:
    """(endpoint, credentials) of a run while the block runs: of a built-in cloud for a rehearsal,
    else the `given` ones, or those that the chain of places finds."""
    if not simulate:
        yield endpoint, chain(endpoint, region) if given is None else given
        return
    with rehearsed(None if simulate is True else simulate) as (simulator, key):
        yield simulator.url, key


async def caller(credential: Credential, endpoint: str, region: str = "") -> Caller | None:
    """The account and the identity that a credential is of, asked at the endpoint's site; None
    where the policy forbids the question, or no answer came."""
    from batchsnap.cloud.transport import post_once

    return await Sts(endpoint, region or STS_REGION, post_once).caller(credential)


async def shared(
    credentials: CredentialSource, profiles: Iterable[str], endpoint: str, region: str = ""
) -> list[str]:
    """A word about profiles whose keys differ and are one sub-account's: to the cloud they are one
    quota, to us two. Nothing is asked unless there are several keys."""
    by_quota: dict[str, tuple[str, Credential]] = {}
    for profile in sorted(profiles):
        try:
            credential = await credentials.get(profile)
        except CredentialsError:
            continue  # its rows halt when they are reached
        by_quota.setdefault(credential.quota_source, (profile, credential))
    if len(by_quota) < 2:
        return []
    of_caller: dict[Caller, list[str]] = {}

    async def ask(profile: str, credential: Credential) -> None:
        found = await caller(credential, endpoint, region)
        if found is not None:
            of_caller.setdefault(found, []).append(profile or "the default one")

    with anyio.move_on_after(_ASKED_FOR_S):  # it is advice, and no run waits for that
        async with anyio.create_task_group() as tasks:
            for one in by_quota.values():
                tasks.start_soon(ask, *one)
    return [
        f"the profiles {', '.join(sorted(names))} have keys of one sub-account ({whose.identity}): "
        "the cloud counts their calls together, so some will be throttled. Use one of them for all "
        "rows, or divide --rate among them"
        for whose, names in of_caller.items()
        if len(names) > 1
    ]
