"""Whatever dies, and whenever: workers killed and frozen, sessions ended, the server restarted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cluster.fleet import write_wide_fleet
from tests.cluster.team import Gather, Team, figure, until
from tests.cluster.witness import claims_of, late_starts, shared_seconds, witnessed
from tests.crash.hammer import HOSTILE
from tests.postgres import new_base, own_server
from tests.process import Cli, disk

HARM = int(os.environ.get("BATCHSNAP_KILLS", "200"))
ROWS, QUOTAS, WORKERS = max(300, 10 * HARM), 6, 3
OPTIONS = ("--settle-for", "1s", "--timeout", "1s", "--retry-for", "120s", "--rate", "5")


class Chaos:
    """Harms a team at random, and puts another worker in the place of a dead one."""

    def __init__(self, team: Team, rng: random.Random) -> None:
        self.team = team
        self.rng = rng
        self.alive: list[subprocess.Popen[str]] = []
        self.frozen: dict[subprocess.Popen[str], float] = {}
        self.harmed = dict.fromkeys(("kill", "freeze", "session", "server"), 0)

    def keep(self) -> None:
        """As many workers as there shall be."""
        self.alive = [process for process in self.alive if process.poll() is None]
        while len(self.alive) < WORKERS:
            self.alive.append(self.team.work("--max-quotas", "3"))

    def harm(self) -> None:
        what = self.rng.choices(list(self.harmed), (10, 4, 5, 1))[0]
        self.harmed[what] += 1
        getattr(self, f"_{what}")()

    def _kill(self) -> None:
        victim = self.rng.choice(self.alive)
        self.frozen.pop(victim, None)
        victim.kill()
        victim.communicate()

    def _freeze(self) -> None:
        victim = self.rng.choice(self.alive)
        victim.send_signal(signal.SIGSTOP)
        self.frozen[victim] = time.monotonic() + self.rng.choice([0.3, 1.5, 3.0, 9.0])

    def _session(self) -> None:
        self.team.base.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = "
            "current_database() and pid <> pg_backend_pid() order by random() limit 1"
        )

    def _server(self) -> None:
        self.team.base.server.stop()
        self.team.base.server.start()

    def thaw(self, *, all_of_them: bool = False) -> None:
        for process, until_s in list(self.frozen.items()):
            if all_of_them or time.monotonic() >= until_s:
                process.send_signal(signal.SIGCONT)
                del self.frozen[process]


@pytest.mark.long
def test_random_harm_makes_no_row_twice_and_loses_none(
    cli: Cli, gather: Gather, tmp_path: Path
) -> None:
    seed = int(os.environ.get("BATCHSNAP_SEED", str(random.randrange(10**6))))
    write_wide_fleet(tmp_path, ROWS, QUOTAS)
    hostile = {**HOSTILE, "seed": seed}
    with own_server() as server, witnessed(tmp_path, QUOTAS) as (cloud, witness):
        cloud.scenario(**hostile)
        base = new_base(server)
        team = witness.watch(gather(base, cloud))
        chaos = Chaos(team, random.Random(seed))
        chaos.alive.append(team.run(*OPTIONS))
        until(lambda: bool(team.ledgers()))
        while sum(chaos.harmed.values()) < HARM and team.made() < ROWS:
            chaos.keep()
            chaos.harm()
            until_s = time.monotonic() + chaos.rng.uniform(0.1, 2.5)
            while time.monotonic() < until_s:
                chaos.thaw()
                time.sleep(0.05)
        chaos.thaw(all_of_them=True)
        for process in chaos.alive:
            process.wait(300)
        for _ in range(5):
            last = team.run(*OPTIONS)
            err = last.communicate(timeout=300)[1]
            if last.returncode != 5:
                break
        assert last.returncode == 0, (seed, chaos.harmed, err)
        assert cloud.per_disk() == {disk(i): 1 for i in range(ROWS)}, (seed, chaos.harmed)
        assert team.events()["doubled"] == 0
        late = late_starts(witness.starts, claims_of(base))
        shared = shared_seconds(witness.starts, 5)
        figure(
            f"seed {seed}: {chaos.harmed}; {ROWS} rows, 0 twice, "
            f"0 lost; {len(late)} starts by former owners, {len(shared)} shared seconds over "
            f"the cap; {witness.unknown:.0%} of {len(witness.starts)} starts of unknown processes; "
            f"{dict(team.events())}"
        )
        assert (late, shared) == ([], []), (seed, claims_of(base)[late[0].source] if late else "")
