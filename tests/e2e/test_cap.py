"""The cap through the command line: what becomes of it when its file is harmed or out of reach."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import ExitStack
from pathlib import Path

from tests.process import SECRET_ID, SECRET_KEY, Cli, disk, simulator, write_fleet


def test_a_quota_file_that_is_cut_in_mid_run_costs_neither_run_nor_cap(
    cli: Cli, tmp_path: Path
) -> None:
    write_fleet(tmp_path, 60)
    state = tmp_path / "state"
    with simulator(tmp_path) as cloud:
        env = {"BATCHSNAP_ENDPOINT": cloud.url, "XDG_STATE_HOME": str(state)}
        process = cli.start("run", "fleet.csv", "--json", **env)
        for created in (3, 10, 20, 30):
            cloud.wait_for(lambda seen, least=created: seen["created"] >= least, process)  # type: ignore[misc]
            for path in (state / "batchsnap").iterdir():
                os.truncate(path, 0)
        out, err = process.communicate(timeout=60)

        assert process.returncode == 0, err
        assert cloud.per_disk() == {disk(i): 1 for i in range(60)}
    assert json.loads(out)["worst_second"] <= 20


def test_a_permanent_key_is_one_quota_wherever_it_is_found(cli: Cli, tmp_path: Path) -> None:
    """The cloud counts by SecretId: found in two places, it still has twenty a second."""
    profiles = tmp_path / ".tccli"
    profiles.mkdir()
    keys = {"secretId": SECRET_ID, "secretKey": SECRET_KEY}
    for name in ("team", "other"):
        (profiles / f"{name}.credential").write_text(json.dumps(keys))

    def quotas(profile: str, number: int) -> set[str]:
        """The files of all quotas after a run."""
        name = f"{number}.csv"
        (tmp_path / name).write_text(
            f"DiskId,Region,Profile\n{disk(number)},ap-guangzhou,{profile}\n"
        )
        done = cli.run("run", name, BATCHSNAP_ENDPOINT=cloud.url)
        assert done.code == 0, done.err
        return {path.name for path in (tmp_path / "state" / "batchsnap").glob("*.starts")}

    with simulator(tmp_path) as cloud:
        first = quotas("", 0)
        assert quotas("team", 1) == quotas("other", 2) == first
    assert not [name for name in first if SECRET_ID.lower() in name.lower()]


def test_a_quota_that_a_stopped_process_holds_ends_the_run_in_time(
    cli: Cli, tmp_path: Path
) -> None:
    write_fleet(tmp_path, 1)
    (tmp_path / "other.csv").write_text(f"DiskId,Region\n{disk(7)},ap-guangzhou\n")
    with simulator(tmp_path) as cloud, ExitStack() as held:
        assert cli.run("run", "fleet.csv", BATCHSNAP_ENDPOINT=cloud.url).code == 0
        for path in (tmp_path / "state" / "batchsnap").glob("*.starts*"):
            file = held.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX)
        done = cli.run("run", "other.csv", "--retry-for", "6s", BATCHSNAP_ENDPOINT=cloud.url)

        assert done.code == 5, done.err
        assert cloud.per_disk() == {disk(0): 1}
    assert "another process holds the quota of CreateSnapshot" in done.err
    assert "s now: giving up" in done.err
    assert [r["event"] for r in cli.records("other.csv.ledger.jsonl")][1:3] == ["intent", "unsent"]


def test_another_version_that_paces_by_another_file_is_waited_for_and_said(
    cli: Cli, tmp_path: Path
) -> None:
    """Two that can't see each other's starts would send twenty a second each."""
    write_fleet(tmp_path, 1)
    state = tmp_path / "state" / "batchsnap"
    state.mkdir(parents=True)
    with simulator(tmp_path) as cloud:
        with (state / "format-2.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # as it does while it is at work
            waited = cli.run("run", "fleet.csv", "--retry-for", "1s", BATCHSNAP_ENDPOINT=cloud.url)
            assert waited.code == 5, waited.err
            assert cloud.state()["created"] == 0
        done = cli.run("run", "fleet.csv", BATCHSNAP_ENDPOINT=cloud.url)

    assert waited.err.count("another version of batchsnap is at work") == 2  # found, and given up
    assert done.code == 0, done.err


def test_a_state_folder_out_of_reach_is_told(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 1)
    (tmp_path / "file").touch()
    with simulator(tmp_path) as cloud:
        env = {"XDG_STATE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
        done = cli.run("run", "fleet.csv", BATCHSNAP_ENDPOINT=cloud.url, **env)

    assert done.code == 0, done.err
    assert "file/batchsnap can't be written: the cap is kept only with" in done.err
