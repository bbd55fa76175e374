"""A run and its workers, as processes."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.postgres import Base
from tests.process import Cli, Cloud, Done

SETTLING = ("--settle-for", "1s", "--timeout", "5s")


def elsewhere(folder: Path, number: int) -> dict[str, str]:
    """As on another machine: its starts are counted with nobody else's."""
    state = folder / f"state-{number}"
    state.mkdir(exist_ok=True)
    return {"XDG_STATE_HOME": str(state)}


def until(seen: Callable[[], bool], most_s: float = 90.0) -> None:
    """Wait for it; what hangs fails."""
    end = time.monotonic() + most_s
    while not seen():
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.05)


def ended(process: subprocess.Popen[str], code: int = 0, most_s: float = 90.0) -> Done:
    """What it said, once it ended by itself, and with this code."""
    out, err = process.communicate(timeout=most_s)
    done = Done(process.returncode, out, err)
    assert done.code == code, done
    return done


def figure(text: str) -> None:
    """What a proof measured: shown with -s, and kept in the file that BATCHSNAP_FIGURES names."""
    print(text)
    if place := os.environ.get("BATCHSNAP_FIGURES"):
        with Path(place).open("a") as file:
            file.write(text + "\n")


class Team:
    """A run and its workers."""

    def __init__(self, cli: Cli, base: Base, cloud: Cloud, ledger: str = "nightly") -> None:
        self.cli, self.base, self.cloud = cli, base, cloud
        self.url = base.url(ledger)
        self.ledger = ledger
        self.started: list[subprocess.Popen[str]] = []

    def end(self) -> None:
        """Let go of all that is left."""
        for process in self.started:
            process.kill()
            process.communicate()

    def run(self, *options: str, manifest: str = "fleet.csv") -> subprocess.Popen[str]:
        """The machine on which `run` is typed; returns once the ledger is there."""
        process = self.start_run(*options, manifest=manifest)
        until(lambda: bool(self.ledgers()) or process.poll() is not None)
        return process

    def start_run(self, *options: str, manifest: str = "fleet.csv") -> subprocess.Popen[str]:
        """The same, at once."""
        command = ("run", manifest, "--ledger", self.url, "--yes", "--json")
        return self._start(*command, "--endpoint", self.cloud.url, *SETTLING, *options)

    def work(self, *options: str, url: str = "", **env: str) -> subprocess.Popen[str]:
        """Another machine that helps; `env` is what else differs there."""
        return self._start("work", url or self.url, *options, **env)

    def _start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        where = elsewhere(self.cli.folder, len(self.started))
        process = self.cli.start(*command, **where, **env)
        self.started.append(process)
        return process

    def ledgers(self) -> list[tuple[Any, ...]]:
        return self.base.sql("select * from batchsnap.ledger where name = %s", self.ledger)

    def phase(self) -> str:
        """Of the run."""
        query = "select phase from batchsnap.ledger where name = %s"
        [(phase,)] = self.base.sql(query, self.ledger)
        return str(phase)

    def made(self) -> int:
        return len(self.cloud.state()["snapshots"])

    def events(self) -> Counter[str]:
        found = self.base.sql(
            "select line::json ->> 'event', count(*) from batchsnap.record group by 1"
        )
        return Counter(dict(found))

    def owned_by(self, process: subprocess.Popen[str]) -> int:
        [(number,)] = self.base.sql(
            "select count(*) from batchsnap.record where line::json ->> 'event' = 'claimed' "
            "and line::json ->> 'worker' like %s",
            f"%:{process.pid}",
        )
        return int(number)

    def end_sessions(self, process: subprocess.Popen[str]) -> None:
        """The server ends those of one machine."""
        self.base.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s",
            f"batchsnap %:{process.pid}",
        )

    def check(self, rows: int) -> None:
        """Each row has one snapshot, and no quota had a second with one accepted too many."""
        assert sorted(self.cloud.per_disk().values()) == [1] * rows
        for quota in self.cloud.state()["quotas"]:
            if quota["action"] == "CreateSnapshot":
                assert quota["worst_second_accepted"] <= 20


Gather = Callable[..., Team]
