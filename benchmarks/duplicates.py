"""kill -9 at random moments and the same command again: ours beside what people resume with.

All three send at about 40/s to the strict simulator without a cap, so that some calls are always
out; a snapshot is ready at once, so that a disk takes another call as it does some hours later.
GNU parallel goes by its `--joblog --resume`; the script appends an id to a file after each success
and leaves those out the next time. Doubles and losses are counted by the cloud.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks.common import alone
from benchmarks.contenders import signed
from tests.process import Cloud, disk, environment, sets, simulator, write_fleet

PACE_PER_S = 40
_OUT_AT_ONCE = 8
_SEED = 20
_DONE = "done.txt"


def send(url: str, number: int) -> bool:
    """Make row N's snapshot; whether the cloud said that it did."""
    job = signed(url, number)
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", "/", job.body, dict(job.headers))
        return b'"SnapshotId"' in connection.getresponse().read()
    finally:
        connection.close()


def append_after_success(url: str, rows: int) -> None:
    """The script: skip what the file holds, append each id once its call came back."""
    path = Path(_DONE)
    done = set(path.read_text().split()) if path.exists() else set()
    with path.open("a", buffering=1) as file, ThreadPoolExecutor(_OUT_AT_ONCE) as pool:

        def one(number: int) -> None:
            if send(url, number):
                file.write(f"{number}\n")
            time.sleep(_OUT_AT_ONCE / PACE_PER_S)

        list(pool.map(one, (n for n in range(rows) if str(n) not in done)))


def _ours(url: str, _rows: int) -> list[str]:
    pace = ("--rate", str(PACE_PER_S), "--api-limit", str(PACE_PER_S))
    settle = ("--settle-for", "0.5s", "--endpoint", url)
    return [sys.executable, "-m", "batchsnap", "run", "fleet.csv", "-q", *pace, *settle]


def _parallel(url: str, rows: int) -> list[str]:
    row = [sys.executable, "-m", "benchmarks.duplicates", "--one", url, "{}"]
    jobs = ("--will-cite", "--jobs", str(_OUT_AT_ONCE), "--delay", str(1 / PACE_PER_S))
    log = ("--joblog", "jobs.log", "--resume")
    return ["parallel", *jobs, *log, *row, ":::", *map(str, range(rows))]


def _script(url: str, rows: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.duplicates", "--script", url, str(rows)]


CONTENDERS: dict[str, Callable[[str, int], list[str]]] = {
    "batchsnap": _ours,
    "parallel --resume": _parallel,
    "append after success": _script,
}


def measure(name: str, *, rows: int, kills: int) -> dict[str, Any]:
    """Start, kill, start again, and let the last one end."""
    rng = random.Random(_SEED)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_fleet(folder, rows)
        with simulator(folder, "--scenario", "strict", *sets(cap_per_s=0, creating_s=0)) as cloud:
            killed = 0
            while killed < kills:
                if not _killed(CONTENDERS[name](cloud.url, rows), folder, cloud, rng):
                    break
                killed += 1
            _start(CONTENDERS[name](cloud.url, rows), folder).wait(900)
            made = cloud.per_disk()
            requests = cloud.quota()["calls"]
    return {
        "contender": name,
        "rows": rows,
        "kills": killed,
        "requests": requests,
        "doubles": sum(count - 1 for count in made.values()),
        "losses": sum(disk(number) not in made for number in range(rows)),
    }


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _killed(command: list[str], folder: Path, cloud: Cloud, rng: random.Random) -> bool:
    """Kill the whole group a random while after its first call; False if it had ended."""
    before = _calls(cloud)
    process = _start(command, folder)
    while process.poll() is None and _calls(cloud) == before:
        time.sleep(0.02)
    time.sleep(rng.uniform(0.05, 0.8))
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.3)  # what is on its way arrives
    return True


def _calls(cloud: Cloud) -> int:
    quotas = cloud.state()["quotas"]
    return Counter({q["action"]: q["calls"] for q in quotas})["CreateSnapshot"]


def main(small: bool = False) -> dict[str, Any]:
    """Ten kills over 300 rows (small: three over 40)."""
    rows, kills = (40, 3) if small else (300, 10)
    skipped = {} if shutil.which("parallel") else {"parallel --resume": "needs GNU parallel"}
    names = [name for name in CONTENDERS if name not in skipped]
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(lambda name: measure(name, rows=rows, kills=kills), names))
    assert not found[0]["doubles"] and not found[0]["losses"], found[0]
    return {"rows": found, "skipped": skipped}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        sys.exit(not send(sys.argv[2], int(sys.argv[3])))
    elif sys.argv[1:2] == ["--script"]:
        append_after_success(sys.argv[2], int(sys.argv[3]))
    else:
        alone(main, __doc__)
