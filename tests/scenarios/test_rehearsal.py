"""Whose time is shortened: a simulator's, which says in every reply that it is one, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchsnap.client.ports import Departure
from batchsnap.ledger.record import encode
from batchsnap.ledger.replay import folded
from batchsnap.model import Fault, Reply
from batchsnap.report.summary import summary_of
from batchsnap.settings import Settings, Waits, patience
from tests.ledgers import header as ledger_header
from tests.ledgers import write_records
from tests.process import Cli, write_fleet
from tests.twin import MemoryCloud
from tests.virtual import run_virtual
from tests.world import ENDPOINT, World, header

LOOPBACK = "http://127.0.0.1:8080"
BORN = 1000.0  # where virtual time begins


class Declaring(MemoryCloud):
    """Says in every reply by how much its lists lag, or says nothing; notes when it was asked."""

    declared_s: float | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.looks: list[float] = []

    async def send(
        self, request: Any, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        if dict(request.headers)["X-TC-Action"] == "DescribeSnapshots":
            self.looks.append(self.loop.time() - BORN)
        outcome = await super().send(request, timeout_s, start)
        return outcome._replace(visible_after_s=self.declared_s) if _is_reply(outcome) else outcome


def _is_reply(outcome: Reply | Fault) -> bool:
    return isinstance(outcome, Reply)


def rehearsal(
    folder: Path,
    fates: list[str],
    *,
    endpoint: str,
    lag_s: float,
    declared_s: float | None,
    settle_for_s: float = 0.0,
) -> tuple[World, Declaring]:
    """A run whose patience the user made so short."""
    world = World(folder, fates, lag_s)
    world.endpoint = endpoint
    world.cloud = cloud = Declaring(world.loop, fates, lag_s)
    cloud.declared_s = declared_s
    world.options = Settings(settle_for_s=settle_for_s)
    world.disk.append(encode(header))
    return world, cloud


@pytest.mark.parametrize("settle_for_s", [0.0, 0.5])
def test_a_tunnel_to_the_real_cloud_is_no_rehearsal(tmp_path: Path, settle_for_s: float) -> None:
    """It is on loopback and declares nothing: what shows after ten seconds is not made again."""
    world, cloud = rehearsal(
        *(tmp_path, ["lost"] * 5 + ["ok"] * 9),
        **{"endpoint": LOOPBACK, "lag_s": 10.0, "declared_s": None, "settle_for_s": settle_for_s},
    )

    run_virtual(world.life(list(range(5)), False, None), world.loop)

    assert {len(made) for made in cloud.made.values()} == {1}
    assert summary_of(folded(world.records())).accepted == 5


@pytest.mark.parametrize(
    ("endpoint", "declared_s"), [(LOOPBACK, None), (ENDPOINT, 0.0)], ids=["tunnel", "afar"]
)
def test_a_signature_lives_its_300_s_but_at_a_simulator(
    tmp_path: Path, endpoint: str, declared_s: float | None
) -> None:
    """A header from elsewhere shortens nothing, nor does an address alone."""
    world, cloud = rehearsal(
        tmp_path, ["", "ok", "ok"], endpoint=endpoint, lag_s=0.0, declared_s=declared_s
    )
    cloud.held_s = 299.0

    run_virtual(world.life([0], False, None), world.loop)

    assert summary_of(folded(world.records())).doubled == 1


@pytest.mark.parametrize("settle_for_s", [0.0, 0.5])
def test_a_simulator_is_asked_three_times_and_after_its_delay(
    tmp_path: Path, settle_for_s: float
) -> None:
    world, cloud = rehearsal(
        *(tmp_path, ["lost"] * 5 + ["ok"] * 9),
        **{"endpoint": LOOPBACK, "lag_s": 10.0, "declared_s": 10.0, "settle_for_s": settle_for_s},
    )

    run_virtual(world.life(list(range(5)), False, None), world.loop)

    assert {len(made) for made in cloud.made.values()} == {1}
    assert cloud.looks[-1] < 30.0
    assert len([look for look in cloud.looks if look < cloud.looks[-1]]) >= 3


def test_a_rehearsal_is_short(tmp_path: Path) -> None:
    """Its signatures too, also in a process that begins with nothing but the last question."""
    world, _ = rehearsal(
        *(tmp_path, ["reset", "ok"]),
        **{"endpoint": LOOPBACK, "lag_s": 0.0, "declared_s": 0.0, "settle_for_s": 3.0},
    )

    async def main() -> None:
        await world.life([0], False, 8.0)
        assert folded(world.records()).owed
        began = world.loop.time()
        await world.life([0], False, None)
        assert world.loop.time() - began < 30.0

    run_virtual(main(), world.loop)

    assert not folded(world.records()).owed


def test_one_reply_without_the_word_ends_the_rehearsal(tmp_path: Path) -> None:
    world, cloud = rehearsal(
        tmp_path, ["", "ok", "ok"], endpoint=LOOPBACK, lag_s=0.0, declared_s=0.0
    )
    cloud.held_s = 299.0

    class Forgetful(Declaring):
        """Declares itself in its first reply only."""

        async def send(
            self, request: Any, timeout_s: float, start: Departure | None = None
        ) -> Reply | Fault:
            outcome = await super().send(request, timeout_s, start)
            if _is_reply(outcome):
                self.declared_s = None
            return outcome

    cloud.__class__ = Forgetful

    run_virtual(world.life([0], False, None), world.loop)

    assert summary_of(folded(world.records())).doubled == 1


@pytest.mark.parametrize("declared_s", [0.0, 0.15, 2.0, 59.0])
@pytest.mark.parametrize("settle_for_s", [0.0, 1.0, 60.0, 120.0])
def test_the_last_look_comes_after_the_declared_delay(
    declared_s: float, settle_for_s: float
) -> None:
    waits = Waits()
    taken = patience(Settings(settle_for_s=settle_for_s), waits, declared_s)

    assert len(set(taken.looks_s)) >= 3
    assert taken.looks_s[-1] > declared_s
    assert taken.looks_s[-1] <= max(settle_for_s, 60.0)
    assert taken.signature_dead_s <= 300.0


def test_too_short_a_settle_for_is_an_error_but_on_loopback(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 1)
    refused = cli.run(
        "run", "fleet.csv", "--settle-for", "14s", "--endpoint", "https://cbs.invalid"
    )

    assert refused.code == 2
    assert "--settle-for 14s is below 15s" in refused.err
    assert not (tmp_path / "fleet.csv.ledger.jsonl").exists()


def test_a_stored_settle_for_that_is_too_short_is_raised_with_a_word(
    cli: Cli, tmp_path: Path
) -> None:
    ledger = tmp_path / "old.jsonl"
    born = {**ledger_header(ledger, 1), "settings": {"settle_for_s": 1.0}}
    write_records(ledger, [born])

    done = cli.run("settle", "old.jsonl")
    given = cli.run("settle", "old.jsonl", "--settle-for", "5s")

    assert (done.code, given.code) == (0, 2), done.err
    assert "--settle-for is below 15s: raised" in done.err
    assert [r["settings"]["settle_for_s"] for r in cli.records("old.jsonl")] == [1.0, 15.0]
