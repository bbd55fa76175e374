"""A ledger that many machines worked on, taken up by one: settled, awaited, rolled back."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from batchsnap.postgres.whole import WholeSink
from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather, until
from tests.postgres import Base
from tests.process import Cli


@pytest.mark.slow
def test_wait_and_rollback_work_on_all_quotas_once_nobody_owns_one(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 80, 2)
    with cloud_of(tmp_path, 2, creating_s=1.0) as cloud:
        team = gather(base, cloud)
        run = team.run()
        until(lambda: team.made() > 20)
        refused = cli.run("rollback", team.url, "--yes")
        assert refused.code == 4, refused.err
        assert f":{run.pid}" in refused.err
        assert "batchsnap stop" in refused.err
        assert run.wait(60) == 0, run.communicate()

        settled = cli.run("settle", team.url, "--json")
        assert settled.code == 0, settled.err
        waited = cli.run("wait", team.url, "--json")
        assert waited.code == 0, waited.err
        assert waited.json["ready"] == 80
        status = cli.run("status", team.url, "--json")
        assert status.json["ready"] == 80
        back = cli.run("rollback", team.url, "--yes", "--json")
        assert back.code == 0, back.err
        assert cloud.state()["snapshots"] == []
        assert team.events()["deleted"] == 80
        assert team.events()["claimed"] == team.events()["released"]


@pytest.mark.long
def test_what_a_killed_worker_left_in_doubt_is_settled_without_sending(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 80, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        run = team.run()
        until(lambda: team.made() > 20)
        run.kill()
        run.wait()
        made = team.made()
        settled = cli.run("settle", team.url, "--json", "--settle-for", "1s")
        assert settled.code == 0, settled.err
        assert settled.json["in_doubt"] == 0
        assert team.made() == made
        on = team.run()
        assert on.wait(60) == 0, on.communicate()
        team.check(80)


def test_whoever_takes_a_ledger_up_waits_for_a_former_owner_and_sends_while_all_is_its_own(
    gather: Gather, tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wide_fleet(tmp_path, 4, 2)
    slept: list[float] = []
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        assert team.run().wait(60) == 0
        address = base.address(team.ledger)
        monkeypatch.setattr("batchsnap.postgres.whole.time.sleep", slept.append)
        WholeSink.open(address).release()
        assert slept == []
        WholeSink.open(address)  # and is killed: it gives nothing back
        sink = WholeSink.open(address)
        assert slept == [pytest.approx(4.0)]

    async def main() -> None:
        right = sink.right
        assert right is not None
        assert not right.holds()  # what was claimed is no proof: an answer is
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sink.commit)
                assert await right.held()
                taken = max(sink.holds)
                newest = "(select max(seq) from batchsnap.record where quota = %s)"
                base.sql(
                    f"insert into batchsnap.record values (%s, {newest} + 1, 'another')",
                    taken,
                    taken,
                )
                while not right.ended:  # a heartbeat away
                    await anyio.sleep(0.05)
                assert not right.holds()
                assert not await right.held()
                sink.close()
        assert sink.failure is not None

    anyio.run(main)


@pytest.mark.long
def test_a_ledger_that_came_back_on_another_server_may_lack_records(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 4, 1)
    with cloud_of(tmp_path, 1) as cloud:
        team = gather(base, cloud)
        run = team.run()
        assert run.wait(60) == 0, run.communicate()
        sink = WholeSink.open(base.address("nightly"))
        assert not sink.lost
        sink.release()
        base.sql(
            'update batchsnap.record set line = replace(line, \'"timeline":"0000\', '
            "'\"timeline\":\"FFFF') where line::json ->> 'event' = 'claimed'"
        )
        sink = WholeSink.open(base.address("nightly"))
        assert "a failover or a restore" in sink.lost
        sink.release()
