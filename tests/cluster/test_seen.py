"""What is seen of a run on many machines: who owns what, who went, who went on, how it ended."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from time import time
from urllib.request import urlopen

import anyio
import pytest
from jsonschema import Draft202012Validator

from batchsnap.cli import cluster
from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import SETTLING, Gather, elsewhere, until
from tests.postgres import Base, new_base, own_server
from tests.process import Cli
from tests.records import birth, moved
from tests.terminal import on_a_terminal, screen

HEAD = "2 quotas: "


class Reading:
    """Reads a terminal all the time, so that nobody waits for it."""

    def __init__(self, fd: int) -> None:
        self.text = ""
        self._fd = fd
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # how a terminal's end reads
            while more := os.read(self._fd, 1 << 16):
                self.text += more.decode(errors="replace")

    def end(self) -> None:
        self._thread.join(60)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_owners_are_named_and_a_takeover_is_a_mark(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 400, 2)
    reader = base.url("nightly", "reader")
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        run = team.run("--max-quotas", "1", "--rate", "4")
        killed = team.work("--max-quotas", "1")
        until(lambda: team.owned_by(killed) > 0 and team.made() > 4)
        spare = team.work()
        told = cli.run("status", reader).out
        told_json = cli.run("status", reader, "--json").json
        quotas = {q["owner"].rpartition(":")[2]: q for q in told_json["quotas"]}
        assert f"{HEAD}2 owned by 2 workers" in told
        assert quotas.keys() == {str(run.pid), str(killed.pid)}
        Draft202012Validator(cli.run("schema", "summary").json).validate(told_json)
        for quota in quotas.values():
            assert quota["profiles"][0] in ("p0", "p1")
            assert quota["since"].endswith("Z")
            assert 0 <= quota["left"] <= quota["rows"] == 200
        assert sum(quota["left"] for quota in quotas.values()) < 400
        killed.kill()
        until(lambda: team.events()["claimed"] == 3)
        assert cli.run("stop", team.url).code == 0
        for process in (run, spare):
            assert process.wait(60) == 5, process.communicate()

    assert f"{HEAD}2 without an owner" in cli.run("status", reader).out
    assert cli.run("ledger", "export", team.url, "-o", "copy.jsonl").code == 0
    for ledger in (reader, "copy.jsonl"):
        page = tmp_path / "page.html"
        assert cli.run("report", ledger, "-o", str(page)).code == 0
        text = page.read_text()
        assert f":{spare.pid} took over p" in text
        assert f":{killed.pid}" in text
        assert text.count('"word":"taken over"') == 1
        assert f"{HEAD}2 without an owner" in text
        assert f"{HEAD}2 without an owner" in cli.run("report", ledger).out


def test_a_run_that_was_stopped_is_told_so_and_no_watcher_waits(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 60, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        run = team.run("--rate", "2")
        until(lambda: team.made() > 2)
        watching = cli.start("status", team.url, "--watch")
        assert cli.run("stop", team.url).code == 0
        assert run.wait(60) == 5, run.communicate()
        watched, _ = watching.communicate(timeout=30)
        told = cli.run("status", team.url).out
        copied = cli.run("ledger", "export", team.url, "-o", "copy.jsonl")
        assert copied.code == 0
        for text in (watched, told, cli.run("status", "copy.jsonl").out):
            assert "(batchsnap stop), exit 5: to go on, run the same command again" in text
        assert f"{HEAD}2 without an owner" in told
        assert "ETA" not in told
        on = team.run("--rate", "20")
        assert on.wait(60) == 0, on.communicate()
        assert "finished at" in cli.run("status", team.url).out


def test_a_quota_that_halted_says_why(cli: Cli, gather: Gather, tmp_path: Path, base: Base) -> None:
    write_wide_fleet(tmp_path, 20, 2)
    refused = {"do": "error", "code": "AuthFailure.SecretIdNotFound", "message": "no such key"}
    with cloud_of(tmp_path, 2) as cloud:
        cloud.scenario(script=[refused])
        team = gather(base, cloud)
        run = team.run()
        assert run.wait(60) == 3, run.communicate()
        told = cli.run("status", team.url).out
        assert f"{HEAD}2 halted" in told
        for profile in ("p0", "p1"):
            assert f"{profile}  halted, 10 left: AuthFailure.SecretIdNotFound: no such key" in told
        assert "exit 3: to go on, run the same command again" in told


def test_a_terminal_shows_the_whole_run_to_who_runs_it_and_its_own_to_who_works(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 400, 4)
    with cloud_of(tmp_path, 4) as cloud:
        team = gather(base, cloud)
        options = ("--yes", "--endpoint", cloud.url, *SETTLING, "--rate", "3", "--max-quotas", "2")
        run, seen = on_a_terminal(
            cli, "run", "fleet.csv", "--ledger", team.url, *options, **elsewhere(tmp_path, 7)
        )
        until(lambda: team.made() > 0 or run.poll() is not None)
        work, own = on_a_terminal(cli, "work", team.url, **elsewhere(tmp_path, 8))
        team.started += [run, work]
        until(lambda: team.owned_by(work) == 2)
        spare = team.work()
        whole, part = Reading(seen), Reading(own)
        until(lambda: "4 quotas: 4 owned by 2 workers" in whole.text)
        until(lambda: f":{work.pid} since" in part.text)
        work.kill()
        until(lambda: f":{spare.pid} took over 2 quotas of" in whole.text)
        assert cli.run("stop", team.url).code == 0
        whole.end(), part.end()
        assert run.wait(60) == 5
    assert " of 400 " in whole.text
    assert " of 200 " in part.text
    assert f":{run.pid}" not in part.text
    lines = screen(whole.text)
    assert "━" not in "".join(lines)
    [last] = [line for line in lines if line.startswith("  4 quotas: ")][-1:]
    assert "without an owner" in last  # the other may still wait for its replies
    assert any(line.startswith("next: batchsnap run fleet.csv --ledger") for line in lines)


def test_a_pipe_gets_plain_lines_and_metrics_tell_what_a_worker_owns(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 200, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        run = team.run("--max-quotas", "1", "--rate", "2", "--log-format", "json")
        port = free_port()
        work = team.work("--metrics-port", str(port))
        until(lambda: team.owned_by(work) == 1 and team.made() > 4)
        with urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
            told = reply.read().decode()
        assert "batchsnap_quotas 1.0" in told
        rows = re.findall(r'batchsnap_rows\{state="\w+"\} ([\d.]+)', told)
        assert sum(map(float, rows)) == 100
        assert run.stderr is not None
        while "progress" not in (line := json.loads(run.stderr.readline())):
            assert run.poll() is None
        assert cli.run("stop", team.url).code == 0
        run.communicate(timeout=60)
    assert line["progress"]["rows"] == 200
    assert line["progress"]["owners"][0] == "2 quotas: 2 owned by 2 workers"


@pytest.mark.long
def test_a_watcher_outlives_a_server_that_is_away(cli: Cli, gather: Gather, tmp_path: Path) -> None:
    write_wide_fleet(tmp_path, 60, 2)
    with own_server() as server, cloud_of(tmp_path, 2) as cloud:
        team = gather(new_base(server), cloud)
        run = team.run("--rate", "3")
        watching, fd = on_a_terminal(cli, "status", team.url, "--watch")
        team.started.append(watching)
        watched = Reading(fd)
        until(lambda: "2 quotas: 2 owned by 1 worker" in watched.text)
        server.stop()
        until(lambda: "can't read postgresql://" in watched.text)
        server.start()
        assert run.wait(90) == 0, run.communicate()
        watched.end()
        assert watching.wait(30) == 0
    assert "finished at" in screen(watched.text)[-2]


def test_a_view_gives_up_a_server_that_stands_still_and_ends_no_work_over_what_it_reads(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_SILENT_S", 0.5)
    base.sql(
        "insert into batchsnap.ledger (name, header) values ('nightly', %s)",
        json.dumps(birth(manifest={"rows": 7})),
    )
    base.sql("insert into batchsnap.quota (ledger, source, host) values (1, '', '')")

    async def main() -> None:
        onlooker = cluster.Onlooker(base.address("nightly"))
        with anyio.fail_after(60):
            assert (await onlooker.look(time())).progress.rows == 7
            [(backend,)] = base.sql(
                "select pid from pg_stat_activity where datname = current_database() "
                "and application_name like 'batchsnap%%'"
            )
            os.kill(backend, signal.SIGSTOP)
            try:
                assert "can't read" in (await onlooker.look(time())).why
                assert (await onlooker.look(time())).why == ""
            finally:
                os.kill(backend, signal.SIGCONT)
            base.sql(
                "insert into batchsnap.record values (1, 1, %s)",
                json.dumps(moved("ready", snapshot_id="snap-1")),
            )
            whys = [(await onlooker.look(time())).why for _ in range(3)]
        onlooker.leave()
        assert whys[0] == "the ledger is read anew"
        assert whys[1].startswith("can't be shown: ")
        assert whys[2] == whys[1]

    anyio.run(main)


def test_who_asks_for_quiet_hears_nothing_of_a_run_that_goes_well(
    cli: Cli, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 8, 8)
    with cloud_of(tmp_path, 8) as cloud:
        options = ("--ledger", base.url("nightly"), "--endpoint", cloud.url, "--yes", *SETTLING)
        done = cli.run("run", "fleet.csv", *options, "-q")
        assert (done.code, done.out, done.err) == (0, "", "")
        other = cli.run("run", "fleet.csv", *options, "--new")
        assert other.code == 0
        assert "keys from profile p0; profile p1; profile p2; profile p3; profile p4; 3 more\n" in (
            other.err
        )
        again = cli.run("run", "fleet.csv", *options, "-q")
        assert (again.code, again.out, again.err) == (0, "", "")
