"""The real command line and the real simulator, each as a process, for every end-to-end test."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.warm import fresh, interpreter, popen

SECRET_ID = "AKIDsimulated"
SECRET_KEY = "simulated-secret-key"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A clean environment: no credentials, home or state of the host leak in."""
    state = folder / "state"
    state.mkdir(exist_ok=True)
    return {
        **interpreter(),
        "HOME": str(folder),
        "XDG_STATE_HOME": str(state),
        "TENCENTCLOUD_SECRET_ID": SECRET_ID,
        "TENCENTCLOUD_SECRET_KEY": SECRET_KEY,
        **more,
    }


@dataclass
class Done:
    """A finished process."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@dataclass
class Cli:
    """batchsnap in a folder of its own; `fresh` with an interpreter of its own, too."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    fresh: bool = False

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        return self._open(args, env, subprocess.DEVNULL)

    def run(self, *args: str, stdin: str | None = None, **env: str) -> Done:
        taken = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        with self._open(args, env, taken) as process:
            try:
                out, err = process.communicate(stdin, timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Done(process.returncode, out, err)

    def _open(
        self, args: tuple[str, ...], env: dict[str, str], stdin: int
    ) -> subprocess.Popen[str]:
        known = environment(self.folder, **self.env, **env)
        pipe = subprocess.PIPE
        start = fresh if self.fresh else popen
        return start(args, self.folder, known, stdin=stdin, stdout=pipe, stderr=pipe)

    def records(self, ledger: str = "fleet.csv.ledger.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / ledger).read_bytes().splitlines()]


@dataclass
class Cloud:
    """A running simulator."""

    url: str

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/_sim/state", timeout=10) as reply:
            return json.load(reply)

    def scenario(self, **values: Any) -> None:
        body = json.dumps(values).encode()
        request = urllib.request.Request(f"{self.url}/_sim/scenario", body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status == 200

    def quota(self, action: str = "CreateSnapshot") -> dict[str, Any]:
        return next(q for q in self.state()["quotas"] if q["action"] == action)

    def wait_for(
        self, seen: Callable[[dict[str, Any]], bool], process: subprocess.Popen[str]
    ) -> None:
        """Until its state is so, while the process lives; what hangs fails."""
        wait_for(lambda: seen(self.state()), process)

    def per_disk(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for snapshot in self.state()["snapshots"]:
            counts[snapshot["disk_id"]] = counts.get(snapshot["disk_id"], 0) + 1
        return counts


def wait_for(seen: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    """Until it is so, while the process lives; what hangs fails."""
    until = time.monotonic() + 90.0
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "it hangs"
        time.sleep(0.02)  # asking without a pause takes the machine from the others


@contextmanager
def simulator(folder: Path, *args: str) -> Iterator[Cloud]:
    """`batchsnap simulate` on a free port."""
    command = ("simulate", "--json", *args)
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    process = popen(
        command, folder, environment(folder), stdin=nothing, stdout=pipe, stderr=nothing
    )
    try:
        assert process.stdout is not None
        yield Cloud(json.loads(process.stdout.readline())["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


def write_profile(folder: Path, name: str, **more: str) -> None:
    """tccli's profile of that name, with the simulator's keys and what else it holds."""
    (folder / ".tccli").mkdir(exist_ok=True)
    keys = {"secretId": SECRET_ID, "secretKey": SECRET_KEY, **more}
    (folder / ".tccli" / f"{name}.credential").write_text(json.dumps(keys))


def sets(**values: Any) -> list[str]:
    """Scenario fields as `--set` options."""
    return [part for k, v in values.items() for part in ("--set", f"{k}={json.dumps(v)}")]


def disk(number: int) -> str:
    """The id of the number-th test disk."""
    return f"disk-{number:08x}"


def write_fleet(
    folder: Path, rows: int, *, regions: Sequence[str] = ("ap-guangzhou",), name: str = "fleet.csv"
) -> Path:
    """A manifest of `rows` disks, region by region in turn."""
    path = folder / name
    lines = [f"{disk(i)},{regions[i % len(regions)]}" for i in range(rows)]
    path.write_text("DiskId,Region\n" + "\n".join(lines) + "\n")
    return path
