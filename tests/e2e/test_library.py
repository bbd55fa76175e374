"""The library's doors: the same promises without the command line."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

import batchsnap
from batchsnap.cloud.credentials import Credentials
from batchsnap.cloud.transport import get_unsigned
from batchsnap.errors import LedgerLocked, ManifestError
from batchsnap.ledger.store import Ledger
from batchsnap.simulator.scenario import Scenario
from batchsnap.simulator.server import EmbeddedSimulator
from tests.process import SECRET_ID, SECRET_KEY, disk, write_fleet

KEYS = {"TENCENTCLOUD_SECRET_ID": SECRET_ID, "TENCENTCLOUD_SECRET_KEY": SECRET_KEY}


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_run_returns_a_result(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path, 5)
    ledger = tmp_path / "ledger.jsonl"

    async def main(url: str) -> batchsnap.Result:
        keys = Credentials(environ=KEYS)
        return await batchsnap.run(fleet, ledger=ledger, endpoint=url, credentials=keys)

    with EmbeddedSimulator() as cloud:
        first = anyio.run(main, cloud.url)
        again = anyio.run(main, cloud.url)

        assert first.exit is again.exit is batchsnap.Exit.DONE
        assert first.summary.accepted == 5
        assert cloud.state()["created"] == 5


def test_stream_yields_every_record(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path, 5)

    async def main(url: str) -> tuple[list[str], batchsnap.Result | None]:
        opened = batchsnap.stream(
            fleet,
            ledger=tmp_path / "ledger.jsonl",
            endpoint=url,
            credentials=Credentials(environ=KEYS),
            settle_for_s=0.5,
        )
        async with opened as run:
            events = [record["event"] async for record in run]
        return events, run.result

    with EmbeddedSimulator(Scenario(lost_reply=0.5, seed=3)) as cloud:
        events, result = anyio.run(main, cloud.url)

    assert events.count("intent") == 5
    assert events.count("accepted") == 5
    assert result is not None
    assert result.exit is batchsnap.Exit.DONE


def test_leaving_a_stream_early_drains(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path, 200)
    ledger = tmp_path / "ledger.jsonl"

    async def main(url: str) -> None:
        keys = Credentials(environ=KEYS)
        async with batchsnap.stream(fleet, ledger=ledger, endpoint=url, credentials=keys) as run:
            async for record in run:
                if record["event"] == "accepted":
                    break

    with EmbeddedSimulator() as cloud:
        anyio.run(main, cloud.url)

        assert 1 <= cloud.state()["created"] < 200
    reopened = Ledger.open(ledger)
    assert reopened.fold.counts["sent"] == 0
    reopened.release()


def test_errors_are_plain(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("DiskId,Region\nnope,ap-tokyo\n")
    fleet = write_fleet(tmp_path, 2)
    ledger = tmp_path / "ledger.jsonl"

    async def main(manifest: Path, url: str) -> None:
        keys = Credentials(environ=KEYS)
        await batchsnap.run(manifest, ledger=ledger, endpoint=url, credentials=keys)

    with EmbeddedSimulator() as cloud:
        with pytest.raises(ManifestError):
            anyio.run(main, bad, cloud.url)
        anyio.run(main, fleet, cloud.url)
        holder = Ledger.open(ledger)
        with pytest.raises(LedgerLocked):
            anyio.run(main, fleet, cloud.url)
        holder.release()


def test_eight_names_at_most_and_nothing_heavy_behind_version() -> None:
    assert len(batchsnap.__all__) <= 8
    for name in batchsnap.__all__:
        assert getattr(batchsnap, name)


def test_a_backup_point_alone_learns_its_disk(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.csv"
    fleet.write_text("DiskBackupId,Region\ndbp-00000001,ap-tokyo\ndbp-00000009,ap-tokyo\n")
    ledger = tmp_path / "ledger.jsonl"

    async def main(url: str) -> batchsnap.Result:
        keys = Credentials(environ=KEYS)
        return await batchsnap.run(fleet, ledger=ledger, endpoint=url, credentials=keys)

    with EmbeddedSimulator(fleet=[(disk(7), "ap-tokyo")]) as cloud:
        cloud.simulator.world.inventory.add_backup("ap-tokyo", "dbp-00000001", disk(7))
        result = anyio.run(main, cloud.url)

        assert [s["disk_id"] for s in cloud.state()["snapshots"]] == [disk(7)]
    assert (result.summary.accepted, result.summary.rejected) == (1, 1)
    assert result.exit is batchsnap.Exit.SOME_FAILED


def test_temporary_keys_that_run_out_in_mid_run_are_fetched_anew(tmp_path: Path) -> None:
    """The machine's role: keys are read again when five minutes of their life are left."""
    fleet = write_fleet(tmp_path, 70)

    async def main(url: str) -> batchsnap.Result:
        keys = Credentials(get_unsigned, environ={}, home=tmp_path, metadata_url=url)
        return await batchsnap.run(
            fleet, ledger=tmp_path / "l.jsonl", endpoint=url, credentials=keys
        )

    with EmbeddedSimulator(Scenario(role_ttl_s=301.0, cap_per_s=0)) as cloud:
        result = anyio.run(main, cloud.url)

        assert result.exit is batchsnap.Exit.DONE
        assert cloud.state()["created"] == 70
    assert result.summary.worst_second <= 20
