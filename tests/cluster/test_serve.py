"""`work` without a ledger: a machine that serves whatever is open, until a signal."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import pytest

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather, ended, until
from tests.postgres import Base
from tests.process import Cli, disk


def test_every_open_ledger_is_served_until_a_signal(
    gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 20, 2)
    lines = [f"{disk(100 + i)},ap-tokyo,p{i % 2}" for i in range(20)]
    (tmp_path / "other.csv").write_text("\n".join(["DiskId,Region,Profile", *lines]) + "\n")
    with cloud_of(tmp_path, 2) as cloud:
        first, second = gather(base, cloud, "first"), gather(base, cloud, "second")
        server = first.work(url=base.url())
        one = first.run("--no-work")
        assert one.wait(90) == 0, one.communicate()
        two = second.run("--no-work", manifest="other.csv")
        assert two.wait(90) == 0, two.communicate()
        assert first.made() == 40
        assert first.owned_by(server) == first.events()["claimed"] >= 4
        assert server.poll() is None
        server.send_signal(signal.SIGTERM)
        told = ended(server, 143, most_s=60)
        assert "first: owns" in told.err
        assert "second: owns" in told.err
        assert told.out.count("accepted") >= 2
        first.check(40)


@pytest.mark.long
def test_a_ledger_is_served_again_once_it_is_open_again(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 120, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        run = team.run("--no-work", "--rate", "5")
        server = team.work("--keep", "--max-quotas", "1")
        until(lambda: team.made() > 5)
        server.send_signal(signal.SIGSTOP)  # as a machine that hangs, and comes back
        assert cli.run("stop", team.url).code == 0
        assert run.wait(60) == 5, run.communicate()
        server.send_signal(signal.SIGCONT)
        again = team.run("--no-work", "--rate", "20")
        assert again.wait(90) == 0, again.communicate()
        assert server.poll() is None
        team.check(120)
        assert team.events()["doubled"] == 0


@pytest.mark.long
def test_a_bound_on_the_time_of_a_run_is_one_for_all_machines(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    """Who serves what is open would take it up again, for as long once more."""
    write_wide_fleet(tmp_path, 200, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        server = team.work(url=base.url())
        run = team.run("--no-work", "--rate", "5", "--max-duration", "5s")
        assert run.wait(60) == 5, run.communicate()
        assert team.phase() == "stopped"
        until(lambda: team.events()["claimed"] == team.events()["released"])
        assert "--max-duration" in cli.run("status", team.url).out
        assert 0 < team.made() < 200
        assert server.poll() is None


def test_what_is_to_be_typed_again_is_what_goes_on_with_it(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 200, 1)
    with cloud_of(tmp_path, 1) as cloud:
        team = gather(base, cloud)
        team.run("--no-work", "--rate", "2")
        server = team.work(url=base.url())
        until(lambda: team.made() > 0)
        server.send_signal(signal.SIGTERM)
        err = server.communicate(timeout=60)[1]
        assert "exit 143: terminated and drained; run the same command again" in err
        assert f"next: batchsnap work {shlex.quote(base.url())}" in err
        helper = team.work()
        until(lambda: team.owned_by(helper) == 1)
        stop = cli.run("stop", base.url("nightly", "reader"))
        assert stop.code == 4
        assert f"can't stop {base.url('nightly', 'reader')}: permission denied" in stop.err
        assert cli.run("stop", team.url).code == 0
        err = helper.communicate(timeout=60)[1]
        following = shlex.join(
            ["batchsnap", "run", str(tmp_path / "fleet.csv"), "--ledger", team.url]
        )
        assert f"exit 5: unfinished; run {following}" in err
        assert f"next: {following}" in err
