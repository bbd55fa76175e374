"""The library's doors: the same promises without the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import anyio
import pytest

import batchsnap
from batchsnap.cloud.credentials import Credentials
from batchsnap.cloud.transport import get_unsigned
from batchsnap.errors import LedgerLocked, ManifestError
from batchsnap.ledger.store import Ledger
from batchsnap.library import api
from batchsnap.simulator.scenario import Scenario
from batchsnap.simulator.server import EmbeddedSimulator
from tests.process import SECRET_ID, SECRET_KEY, disk, simulator, write_fleet
from tests.programs import python

KEYS = {"TENCENTCLOUD_SECRET_ID": SECRET_ID, "TENCENTCLOUD_SECRET_KEY": SECRET_KEY}


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_run_returns_a_result(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path, 5)
    ledger = tmp_path / "ledger.jsonl"

    async def main(url: str) -> batchsnap.Result:
        keys = batchsnap.StaticCredentials(SECRET_ID, SECRET_KEY)
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


def test_the_errors_that_docstrings_name_are_exported() -> None:
    for name in batchsnap.__all__:
        assert getattr(batchsnap, name)
    for door in (batchsnap.run, batchsnap.stream, batchsnap.StaticCredentials.__init__):
        named = re.findall(r"\b[A-Z]\w+(?:Error|Version)\b", door.__doc__ or "")
        for name in {*named} - {"TypeError"}:
            assert issubclass(getattr(batchsnap, name), batchsnap.BatchsnapError)
            assert name in batchsnap.__all__


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": 5}, "'rate'; did you mean rate_per_s"),
        ({"colour": "red"}, "no option 'colour'"),
        ({"rate_per_s": "20"}, "rate_per_s must be a number, not str '20'"),
        ({"canary": True}, "canary must be an int, not bool True"),
        ({"canary": 1.5}, "canary must be an int"),
        ({"strict": 1}, "strict must be a bool"),
        ({"tags": {"k": "v"}}, "tags must be a tuple of"),
        ({"tags": (("k", 1),)}, "tags must be a tuple of"),
        ({"region": None}, "region must be a str"),
        ({"wait": "yes"}, "wait must be a bool"),
        ({"stop": object()}, "stop must be a Stop"),
        ({"credentials": SECRET_ID}, "credentials must be a source"),
        ({"simulate": "calm"}, "simulate must be a bool or a Scenario"),
        ({"say": "aloud"}, "say must be callable"),
    ],
)
def test_what_is_no_option_is_a_type_error_that_names_it(
    tmp_path: Path, options: Any, says: str
) -> None:
    fleet, ledger = write_fleet(tmp_path, 1), tmp_path / "ledger.jsonl"

    async def running() -> None:
        await batchsnap.run(fleet, ledger=ledger, **options)

    async def streaming() -> None:
        async with batchsnap.stream(fleet, ledger=ledger, **options):
            pass

    for way in (running, streaming):
        with pytest.raises(TypeError, match=re.escape(says)):
            anyio.run(way)
    assert not ledger.exists()


def test_rows_from_memory(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"

    def rows(count: int) -> Iterator[dict[str, object]]:
        for i in range(count):
            yield {"DiskId": disk(i), "Region": "ap-tokyo", "Tags": "k=v", "SnapshotName": None}

    first = anyio.run(partial(batchsnap.run, rows(2), ledger=ledger, simulate=True))
    more = anyio.run(partial(batchsnap.run, list(rows(3)), ledger=ledger, simulate=True))

    assert (first.summary.rows, first.summary.accepted) == (2, 2)
    assert (more.summary.rows, more.summary.accepted, more.summary.requests) == (3, 3, 3)


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        ([], ManifestError, "1 problem"),
        ([{"DiskId": "nope", "Region": "ap-tokyo"}], ManifestError, "1 problem"),
        (["disk-00000001"], TypeError, "row 1 is a str"),
        ([{"DiskId": disk(1)}, {"DiskId": object()}], TypeError, "row 2"),
        (5, TypeError, "manifest"),
        (None, TypeError, "manifest"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, rows: Any, error: type[Exception], says: str) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with pytest.raises(error, match=says):
        anyio.run(partial(batchsnap.run, rows, ledger=ledger, simulate=True))
    assert not ledger.exists()


def test_a_rehearsal_reaches_no_other_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, ledger = write_fleet(tmp_path, 2), tmp_path / "ledger.jsonl"
    keys = batchsnap.StaticCredentials(SECRET_ID, SECRET_KEY)
    with EmbeddedSimulator() as cloud:
        monkeypatch.setenv("BATCHSNAP_ENDPOINT", cloud.url)
        scenario = Scenario(not_found=1.0)
        rehearsed = anyio.run(partial(batchsnap.run, fleet, ledger=ledger, simulate=scenario))
        assert cloud.state()["created"] == 0

        # and where a program names no endpoint, the environment's is taken, not the default one
        real = tmp_path / "real.jsonl"
        anyio.run(partial(batchsnap.run, fleet, ledger=real, credentials=keys))
        assert cloud.state()["created"] == 2
        others: tuple[dict[str, Any], ...] = ({"endpoint": cloud.url}, {"credentials": keys})
        for other in others:
            with pytest.raises(batchsnap.UsageError, match="simulate"):
                anyio.run(partial(batchsnap.run, fleet, ledger=ledger, simulate=True, **other))
    assert rehearsed.summary.accepted == 0


def test_keys_that_are_none_are_refused_and_never_shown() -> None:
    assert "hush" not in repr(batchsnap.StaticCredentials("AKIDhush", "hush", "hush"))
    with pytest.raises(batchsnap.CredentialsError) as raised:
        batchsnap.StaticCredentials("AKID", "hush # old")
    assert "hush" not in str(raised.value)


def test_a_stream_takes_what_run_takes(tmp_path: Path) -> None:
    fleet, stop = write_fleet(tmp_path, 30), batchsnap.Stop()
    ledger = tmp_path / "ledger.jsonl"
    keys = batchsnap.StaticCredentials(SECRET_ID, SECRET_KEY)

    async def main(**more: Any) -> batchsnap.Result | None:
        async with batchsnap.stream(fleet, ledger=ledger, credentials=keys, **more) as run:
            async for record in run:
                if record["event"] == "accepted" and "stop" in more:
                    stop.request(batchsnap.Exit.UNFINISHED, "enough")
        return run.result

    with EmbeddedSimulator(Scenario(creating_s=0.2)) as cloud:
        cut = anyio.run(partial(main, endpoint=cloud.url, stop=stop))
        done = anyio.run(partial(main, endpoint=cloud.url, wait=True, retry_failed=True))

    assert cut is not None
    assert cut.exit is batchsnap.Exit.UNFINISHED
    assert 1 <= cut.summary.accepted < 30
    assert done is not None
    assert done.summary.ready == 30


def test_a_run_waits_for_a_reader_that_is_far_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "UNREAD_MAX", 10)
    fleet, ledger = write_fleet(tmp_path, 60), tmp_path / "ledger.jsonl"

    async def main(cloud: EmbeddedSimulator) -> tuple[int, int]:
        keys = batchsnap.StaticCredentials(SECRET_ID, SECRET_KEY)
        held = read = 0
        opened = batchsnap.stream(
            fleet,
            ledger=ledger,
            endpoint=cloud.url,
            credentials=keys,
            max_in_flight=3,
            rate_per_s=500.0,
            api_limit_per_s=500,
        )
        async with opened as run:
            while not held or held != (now := await later(cloud)):
                held = now if held else await later(cloud)
            async for _ in run:
                read += 1
        return held, read

    async def later(cloud: EmbeddedSimulator) -> int:
        await anyio.sleep(0.3)  # at 500 a second all would long be sent
        return int(cloud.state()["created"])

    with EmbeddedSimulator(Scenario(cap_per_s=0)) as cloud:
        held, read = anyio.run(main, cloud)
        assert cloud.state()["created"] == 60
    assert 1 <= held <= 15
    assert read >= 120


def test_an_exception_of_the_body_arrives_as_itself_and_drains(tmp_path: Path) -> None:
    fleet, ledger = write_fleet(tmp_path, 60), tmp_path / "ledger.jsonl"
    mine = ZeroDivisionError("mine")

    async def main() -> None:
        async with batchsnap.stream(fleet, ledger=ledger, simulate=True) as run:
            async for record in run:
                if record["event"] == "accepted":
                    raise mine

    with pytest.raises(ZeroDivisionError) as raised:
        anyio.run(main)
    assert raised.value is mine
    reopened = Ledger.open(ledger)
    assert reopened.fold.counts["sent"] == 0
    reopened.release()


def test_an_exception_of_on_record_arrives_as_itself(tmp_path: Path) -> None:
    fleet, ledger = write_fleet(tmp_path, 2), tmp_path / "ledger.jsonl"

    def broken(record: dict[str, Any]) -> None:
        # Not at the first: what Python 3.11 accepts while its server closes is never closed.
        if record["event"] == "accepted":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        anyio.run(partial(batchsnap.run, fleet, ledger=ledger, simulate=True, on_record=broken))


LEAVING = """
import anyio, batchsnap, os, signal, sys

async def main():
    async with batchsnap.stream("fleet.csv", ledger="ledger.jsonl") as run:
        async for record in run:
            if record["event"] == "accepted":
                {way}

anyio.run(main)
"""


@pytest.mark.parametrize(
    "way", ["break", "return", "sys.exit(0)", "os.kill(os.getpid(), signal.SIGINT)"]
)
def test_leaving_early_closes_the_connections(tmp_path: Path, way: str) -> None:
    """Nothing is left open for the interpreter to complain about, however the block is left."""
    write_fleet(tmp_path, 60)
    with simulator(tmp_path) as cloud:
        flags, code = ("-W", "always"), LEAVING.format(way=way)
        done = python(tmp_path, code, flags=flags, BATCHSNAP_ENDPOINT=cloud.url)

    for word in ("Unclosed", "never", "Warning"):
        assert word not in done.err
    if "SIGINT" not in way:
        assert (done.code, done.err) == (0, "")


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files(batchsnap).joinpath("py.typed").is_file()


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
