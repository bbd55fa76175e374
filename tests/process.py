"""The real command line and the real simulator, each as a process, for every end-to-end test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET_ID = "AKIDsimulated"
SECRET_KEY = "simulated-secret-key"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A clean environment: no credentials, home or state of the host leak in."""
    kept = {k: os.environ[k] for k in ("PATH", "LANG", "TMPDIR") if k in os.environ}
    state = folder / "state"
    state.mkdir(exist_ok=True)
    return {
        **kept,
        "HOME": str(folder),
        "XDG_STATE_HOME": str(state),
        "SSL_CERT_FILE": os.devnull,  # reading the host's takes a fifth of a process's start
        "PYTHONPATH": str(Path(__file__).parent.parent),
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
    """batchsnap in a folder of its own."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "batchsnap", *args],
            cwd=self.folder,
            env=environment(self.folder, **self.env, **env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str, stdin: str | None = None, **env: str) -> Done:
        process = subprocess.run(
            [sys.executable, "-m", "batchsnap", *args],
            cwd=self.folder,
            env=environment(self.folder, **self.env, **env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Done(process.returncode, process.stdout, process.stderr)

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
        until = time.monotonic() + 90.0
        while not seen(self.state()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "it hangs"
            time.sleep(0.02)  # asking without a pause takes the machine from the others

    def per_disk(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for snapshot in self.state()["snapshots"]:
            counts[snapshot["disk_id"]] = counts.get(snapshot["disk_id"], 0) + 1
        return counts


@contextmanager
def simulator(folder: Path, *args: str) -> Iterator[Cloud]:
    """`batchsnap simulate` on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "batchsnap", "simulate", "--json", *args],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
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
