"""Many machines on one run: real workers as processes, the real simulator, a real PostgreSQL."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from batchsnap.cluster.run import conclude, known
from batchsnap.ledger.reading import records
from tests.cluster.fleet import cloud_of, only_keys_of, write_wide_fleet
from tests.cluster.team import Gather, ended, until
from tests.postgres import Base, new_base, own_server
from tests.process import Cli, disk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_run_is_loaded_worked_on_and_told_as_with_a_file(
    cli: Cli, gather: Gather, folder: Path, base: Base
) -> None:
    write_wide_fleet(folder, 30, 3)
    with cloud_of(folder, 3) as cloud:
        team = gather(base, cloud)
        out, err = team.run().communicate(timeout=90)
        told = json.loads(out)
        assert (told["rows"], told["accepted"], told["worst_second"]) == (30, 30, 10), err
        team.check(30)
        again = cli.run("run", "fleet.csv", "--ledger", team.url, "--yes")
        assert again.code == 0
        assert "nothing is left to do" in again.err

        status = cli.run("status", base.url("nightly", "reader"), "--json")
        assert status.json == told | {
            "elapsed_s": status.json["elapsed_s"],
            "rate_per_s": status.json["rate_per_s"],
        }
        assert [quota["ended"] for quota in told["quotas"]] == ["done"] * 3
        listed = cli.run("ledger", "list", base.url())
        assert listed.out.split("\t")[:3] == ["nightly", "finished", "30 rows"]
        assert cli.run("ledger", "export", team.url, "-o", "copy.jsonl").code == 0
        assert cli.run("status", "copy.jsonl", "--json").json == status.json
        lives = quotas_of(folder / "copy.jsonl")
        assert lives["claimed"] == lives["released"]
        assert cli.run("report", "copy.jsonl", "--format", "csv").out.count("accepted") == 30
        assert cli.run("report", team.url, "--format", "csv").out.count("accepted") == 30
        assert cli.run("ledger", "export", team.url, "-o", "copy.jsonl").code == 2
        asks = cli.run("plan", "fleet.csv", "--ledger", "copy.jsonl")
        assert asks.code == 0, asks.err
    assert sum("elapsed_s" in line for line in out.splitlines()) == 1


def quotas_of(ledger: Path) -> dict[str, set[tuple[str, str]]]:
    """The quotas that were claimed, and those that were given back."""
    found: dict[str, set[tuple[str, str]]] = {"claimed": set(), "released": set()}
    for record in records(ledger):
        if record["event"] in found:
            found[record["event"]].add((record["source"], record["host"]))
    return found


@pytest.mark.long
def test_a_worker_is_killed_and_another_goes_on(
    cli: Cli, gather: Gather, folder: Path, base: Base
) -> None:
    write_wide_fleet(folder, 80, 2)
    with cloud_of(folder, 2) as cloud:
        team = gather(base, cloud)
        run = team.run("--max-quotas", "1", "--rate", "4")
        killed = team.work("--max-quotas", "1")
        until(lambda: team.owned_by(killed) > 0 and team.made() > 20)
        killed.kill()
        assert ended(run, most_s=120).json["accepted"] == 80
        team.check(80)
        assert team.events()["claimed"] == 3


@pytest.mark.long
def test_one_worker_is_killed_and_one_is_frozen_and_each_row_is_made_once(
    cli: Cli, gather: Gather, folder: Path, base: Base
) -> None:
    """600 rows, 12 quotas, three workers, one kill -9, one SIGSTOP of 12 s."""
    write_wide_fleet(folder, 600, 12)
    with cloud_of(folder, 12) as cloud:
        team = gather(base, cloud)
        run = team.run("--max-quotas", "5")
        killed, frozen = team.work("--max-quotas", "4"), team.work("--max-quotas", "4")
        until(lambda: bool(team.owned_by(killed) and team.owned_by(frozen)) and team.made() > 60)
        killed.kill()
        frozen.send_signal(signal.SIGSTOP)
        time.sleep(12.0)
        frozen.send_signal(signal.SIGCONT)
        assert ended(run, most_s=120).json["accepted"] == 600
        said = ended(frozen, most_s=60).err
        team.check(600)
        assert team.events()["doubled"] == 0
        assert "another process owns this quota now" in said


@pytest.mark.long
def test_the_server_is_away_for_eight_seconds_and_that_is_a_stall(
    gather: Gather, folder: Path
) -> None:
    write_wide_fleet(folder, 300, 2)
    with own_server() as server, cloud_of(folder, 2) as cloud:
        team = gather(new_base(server), cloud)
        run = team.run()
        until(lambda: team.made() > 40)
        server.stop()
        time.sleep(8.0)
        server.start()
        told = ended(run, most_s=120)
        assert told.json["accepted"] == 300
        team.check(300)
        assert team.events()["in_doubt"] == 0
        assert team.events()["claimed"] == 2
        assert "out of reach, nothing is sent" in told.err
        assert "answers again" in told.err


@pytest.mark.long
def test_a_stop_is_heeded_while_the_cloud_is_asked_about_a_claim(
    cli: Cli, gather: Gather, folder: Path, base: Base
) -> None:
    lines = [f"{disk(i)},{('ap-tokyo', 'ap-osaka')[i % 2]},p{i % 2}" for i in range(600)]
    (folder / "fleet.csv").write_text("\n".join(["DiskId,Region,Profile", *lines]))
    hang = {"match": {"action": "DescribeDisks", "region": "ap-osaka"}, "do": "hang"}
    with cloud_of(folder, 2) as cloud:
        cloud.scenario(script=[hang])
        team = gather(base, cloud)
        run = team.run("--timeout", "30s")
        until(lambda: team.made() > 10)
        assert cli.run("stop", team.url).code == 0
        made = team.made()
        assert run.wait(60) == 5, run.communicate()
        assert team.made() - made < 80  # 20 a second, and ten seconds until nobody waits


@pytest.mark.long
def test_who_is_told_to_end_while_the_server_is_away_waits_no_half_hour(
    gather: Gather, folder: Path
) -> None:
    write_wide_fleet(folder, 300, 2)
    with own_server() as server, cloud_of(folder, 2) as cloud:
        team = gather(new_base(server), cloud)
        run = team.run()
        until(lambda: team.made() > 20)
        server.stop()
        run.send_signal(signal.SIGTERM)
        assert "is out of reach, for" in ended(run, 5, most_s=60).err
        server.start()
        assert team.run().wait(120) == 0
        team.check(300)


@pytest.mark.long
def test_stop_drains_every_worker_and_run_goes_on(
    cli: Cli, gather: Gather, folder: Path, base: Base
) -> None:
    write_wide_fleet(folder, 240, 4)
    with cloud_of(folder, 4) as cloud:
        team = gather(base, cloud)
        run, helper = team.run("--max-quotas", "2"), team.work("--max-quotas", "2")
        until(lambda: team.owned_by(helper) > 0 and team.made() > 20)
        assert cli.run("stop", team.url).code == 0
        for process in (run, helper):
            assert "the run is stopped on all machines" in ended(process, 5, most_s=60).err
        made = team.made()
        assert made < 240
        assert team.events()["claimed"] == team.events()["released"]
        on = team.run()
        assert on.wait(60) == 0, on.communicate()
        team.check(240)
        assert team.events()["in_doubt"] == 0


@pytest.mark.long
def test_a_machine_without_the_keys_leaves_those_quotas_to_others(
    gather: Gather, folder: Path, base: Base
) -> None:
    write_wide_fleet(folder, 40, 2)
    with cloud_of(folder, 2) as cloud:
        team = gather(base, cloud)
        run = team.run("--rate", "2")
        helper = team.work(**only_keys_of(folder, "p0"))
        until(lambda: team.made() > 4)
        run.kill()
        assert "it lacks: profile p1" in ended(helper, 5).err
        on = team.run("--rate", "20")
        assert on.wait(90) == 0, on.communicate()
        team.check(40)


def test_what_is_left_out_says_so_and_what_to_do(
    cli: Cli, gather: Gather, folder: Path, base: Base
) -> None:
    write_wide_fleet(folder, 2, 1)
    url = base.url("nightly")
    for options, remedy in (
        (("--simulate",), "a ledger in a file"),
        (("--max-creating", "5"), "--rate"),
    ):
        refused = cli.run("run", "fleet.csv", "--ledger", url, "--yes", *options)
        assert refused.code == 2, refused.err
        assert remedy in refused.err
    for command in ("work", "stop", "status", "report"):
        missing = cli.run(command, url)
        assert missing.code == 4, missing.err
        assert "there is no ledger nightly" in missing.err


@pytest.mark.long
def test_too_many_failures_stop_the_run_on_all_machines(
    gather: Gather, folder: Path, base: Base
) -> None:
    write_wide_fleet(folder, 200, 2)
    with cloud_of(folder, 2) as cloud:
        gone = [{"match": {"disk_id": disk(i)}, "do": "not_found"} for i in range(0, 200, 8)]
        cloud.scenario(script=gone)
        team = gather(base, cloud)
        run, helper = team.run("--max-errors", "3"), team.work()
        assert "rows failed, --max-errors 3" in ended(run, 3).err
        assert helper.wait(60) == 3, helper.communicate()
        assert team.made() < 150


def test_the_last_rows_may_be_the_ones_too_many(gather: Gather, folder: Path, base: Base) -> None:
    """Nobody's heartbeat may have seen them."""
    write_wide_fleet(folder, 30, 1)
    with cloud_of(folder, 1) as cloud:
        gone = [{"match": {"disk_id": disk(i)}, "do": "not_found"} for i in (3, 9, 15)]
        cloud.scenario(script=gone)
        team = gather(base, cloud)
        assert team.run("--max-errors", "50").wait(90) == 1
        base.sql(
            "update batchsnap.ledger set phase = 'open', "
            """header = replace(header, '"max_errors":"50"', '"max_errors":"3"')"""
        )
        there = known(base.address(team.ledger))
        assert there is not None
        assert there.settings.max_errors == "3"
        assert conclude(base.address(team.ledger), there).result.exit == 3


@pytest.mark.long
def test_a_quota_that_nobody_owns_is_taken_above_the_bound(
    gather: Gather, folder: Path, base: Base
) -> None:
    write_wide_fleet(folder, 120, 3)
    with cloud_of(folder, 3) as cloud:
        team = gather(base, cloud)
        run = team.run("--max-quotas", "1", "--rate", "1")
        helper = team.work("--max-quotas", "1")
        until(lambda: team.owned_by(run) > 0 and team.owned_by(helper) > 0)
        until(lambda: team.owned_by(run) + team.owned_by(helper) == 3)
        assert team.events()["released"] == 0  # nobody was through before the third was taken
        helper.kill()
        assert team.run("--rate", "20").wait(120) == 0
        assert run.wait(120) == 0
        team.check(120)


def test_profiles_of_one_key_are_one_quota(gather: Gather, folder: Path, base: Base) -> None:
    write_wide_fleet(folder, 24, 2)
    with cloud_of(folder, 2) as cloud:
        keys = (folder / ".tccli" / "p0.credential").read_bytes()
        (folder / ".tccli" / "p1.credential").write_bytes(keys)
        team = gather(base, cloud)
        run = team.run()
        assert run.wait(90) == 0, run.communicate()
        assert team.events()["claimed"] == 1
        team.check(24)
