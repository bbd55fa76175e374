"""Night after night: `--new` starts a run beside a finished one, and only beside a finished one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import Cli, disk, sets, simulator, write_fleet

LEDGER = "fleet.csv.ledger.jsonl"
FAST = ("--rate", "400", "--api-limit", "400")


@pytest.mark.parametrize("since", [("wait",), ("settle",), ("rollback", "--yes")])
def test_a_finished_run_stays_finished_whatever_is_done_with_its_ledger(
    cli: Cli, tmp_path: Path, since: tuple[str, ...]
) -> None:
    """Else the next night finds an unfinished run with nothing left, and makes no snapshot."""
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        first = cli.run("run", "fleet.csv", *FAST, "--endpoint", cloud.url)
        done = cli.run(since[0], LEDGER, *since[1:])
        watched = cli.run("status", LEDGER, "--watch")
        second = cli.run("run", "fleet.csv", "--new", *FAST, "--endpoint", cloud.url)

        assert (first.code, done.code, second.code) == (0, 0, 0), second.err
        assert "finished at" in watched.out
        assert cloud.state()["created"] == 6
    assert (tmp_path / "fleet.csv.ledger.2.jsonl").exists()


def test_new_goes_on_where_the_run_itself_was_taken_up_again(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        to = ("--endpoint", cloud.url)
        cli.run("run", "fleet.csv", *FAST, *to)
        write_fleet(tmp_path, 4)
        lost = {"match": {"disk_id": disk(3)}, "do": "lost_reply"}
        cloud.scenario(script=[lost])
        cut = cli.run("run", "fleet.csv", "--max-duration", "2s", *FAST, *to)
        again = cli.run("run", "fleet.csv", "--new", "--settle-for", "0.5s", *FAST, *to)

        assert (cut.code, again.code) == (5, 0), again.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(4)}
    assert not (tmp_path / "fleet.csv.ledger.2.jsonl").exists()


def test_a_number_in_the_given_name_is_not_counted_up(cli: Cli, tmp_path: Path) -> None:
    """The next number may be tomorrow's date, or another run's."""
    write_fleet(tmp_path, 1)
    write_fleet(tmp_path, 2, name="other.csv")
    with simulator(tmp_path, *sets(creating_s=0.0)) as cloud:
        cli.env["BATCHSNAP_ENDPOINT"] = cloud.url
        nightly = ("run", "fleet.csv", "--ledger", "nightly.{date}.jsonl", *FAST)
        nights = [cli.run(*nightly), cli.run(*nightly, "--new"), cli.run(*nightly)]
        second = cli.run("run", "other.csv", "--ledger", "run.2.jsonl", *FAST)
        first = cli.run("run", "fleet.csv", "--ledger", "run.1.jsonl", *FAST)

        assert [night.code for night in nights] == [0, 0, 0], nights[-1].err
        assert (first.code, second.code) == (0, 0), first.err
        assert cloud.per_disk() == {disk(0): 4, disk(1): 1}
    made = [path.stem for path in sorted(tmp_path.glob("nightly.*.jsonl"), key=lambda p: p.stem)]
    assert made == [made[0], f"{made[0]}.2"]
