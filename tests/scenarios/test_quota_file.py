"""The quota file among gates and real processes: what harms it or dies with it costs no cap."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from batchsnap.pacing import law, quota_file
from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import AtWork, Contention, QuotaFile, Shut, state_folder
from batchsnap.pacing.starts import FORMAT, SIZE
from tests.gates import QUOTA, starts_of
from tests.process import wait_for
from tests.virtual import VirtualClock, VirtualLoop, run_virtual
from tests.windows import worst_window


@pytest.mark.parametrize("harm", ["removed", "cut", "overwritten", "folder removed"])
def test_a_file_lost_under_two_live_gates_costs_a_second_and_not_the_cap(
    tmp_path: Path, harm: str
) -> None:
    loop = VirtualLoop()
    found: list[float] = []
    harmed: list[float] = []
    folder = tmp_path / "state"

    async def process(number: int) -> None:
        gate = LocalGate(20.0, clock=VirtualClock(loop), file=QuotaFile(folder, QUOTA))
        for _ in range(number):
            found.extend(await starts_of(gate, 1, loop))
        gate.close()

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(process(100))
            tasks.create_task(process(100))
            for _ in range(3):
                await asyncio.sleep(2.3)
                [path] = folder.iterdir()
                if harm == "cut":
                    os.truncate(path, 0)
                elif harm == "overwritten":
                    with path.open("r+b") as file:
                        file.write(b"\xff" * SIZE)
                else:
                    path.unlink()
                if harm == "folder removed":
                    folder.rmdir()
                harmed.append(loop.time())
                await asyncio.sleep(0.3)
                tasks.create_task(process(50))

    folder.mkdir()
    run_virtual(main(), loop)

    assert len(found) == 350
    assert worst_window(sorted(found)) <= 20
    for moment in harmed:
        assert not [start for start in found if 0.06 < start - moment < 1.0]


def test_a_stopped_holder_of_the_lock_blocks_starts_and_not_the_loop(tmp_path: Path) -> None:
    """It is said after five seconds, and ends the wait after as many as the gate was given."""
    loop = VirtualLoop()
    QuotaFile(tmp_path, QUOTA).close()
    [path] = tmp_path.iterdir()
    told: list[tuple[str, float]] = []

    def tell(text: str) -> None:
        told.append((text, loop.time()))

    async def main() -> tuple[float, list[float], int]:
        contention = Contention(
            "another process holds the quota", most_s=60.0, say=tell, gave_up=tell
        )
        file = QuotaFile(tmp_path, QUOTA)
        gate = LocalGate(20.0, clock=VirtualClock(loop), file=file, contention=contention)
        fd = os.open(path, os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        waiting = [asyncio.ensure_future(starts_of(gate, 1, loop)) for _ in range(2)]
        turns = 0
        while loop.time() < 1055:
            await asyncio.sleep(0.1)
            turns += 1
        assert not any(one.done() for one in waiting)
        for one in waiting:
            with pytest.raises(Shut):
                await one
        gave_up = loop.time()
        os.close(fd)  # as when the holder is killed
        await asyncio.sleep(3.0)
        starts = await starts_of(gate, 2, loop)
        gate.close()
        return gave_up, starts, turns

    gave_up, starts, turns = run_virtual(main(), loop)

    (said, said_at), (ended, _) = told
    assert "holds the quota" in said and "kill -CONT" in said
    assert 1006.0 <= said_at < 1006.2  # the first second it would not have started anyway
    assert "for 60 s now: giving up" in ended
    assert 1061.0 <= gave_up < 1061.2
    assert turns >= 540
    assert starts[0] - gave_up < 3.2


def test_a_lock_that_was_out_of_reach_long_ago_is_no_reason_to_give_up(tmp_path: Path) -> None:
    loop = VirtualLoop()

    async def main() -> None:
        contention = Contention(most_s=60.0)
        file = QuotaFile(tmp_path, QUOTA)
        gate = LocalGate(20.0, clock=VirtualClock(loop), file=file, contention=contention)
        await asyncio.sleep(1.0)
        [path] = tmp_path.iterdir()
        for _ in range(2):  # each is met for an instant, and nobody is left who waits
            fd = os.open(path, os.O_RDWR)
            fcntl.flock(fd, fcntl.LOCK_EX)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gate.start(), 0.1)
            os.close(fd)
            await asyncio.sleep(100.0)
        gate.close()

    run_virtual(main(), loop)


def test_all_who_wait_are_told_that_the_file_is_out_of_reach(tmp_path: Path) -> None:
    loop = VirtualLoop()
    folder = tmp_path / "state"

    async def main() -> None:
        gate = LocalGate(20.0, clock=VirtualClock(loop), file=QuotaFile(folder, QUOTA))
        waiting = [asyncio.ensure_future(gate.start()) for _ in range(3)]
        await asyncio.sleep(0.1)
        [path] = folder.iterdir()
        path.unlink()
        folder.rmdir()
        folder.touch()  # no folder can be made there
        for one in waiting:
            with pytest.raises(OSError, match="state"):
                await one
        gate.close()

    run_virtual(main(), loop)


# -- real processes ------------------------------------------------------------------------------

CHILD = """
import sys, time, asyncio
from pathlib import Path
from batchsnap.clock import LoopClock
from batchsnap.model import Quota
from batchsnap.pacing.quota_file import Contention, Shut
from batchsnap.pacing.gate import LocalGate
from batchsnap.pacing.quota_file import QuotaFile
async def main():
    quota = Quota("env", "cbs.example.com", "CreateSnapshot")
    gate = LocalGate(200.0, clock=LoopClock(), file=QuotaFile(Path(sys.argv[1]), quota))
    with open(sys.argv[2], "a", buffering=1) as out:
        while True:
            token = await gate.start()
            if gate.leave(token):
                print(time.monotonic(), file=out)
                gate.left(token)
asyncio.run(main())
"""


def stop_outside_the_lock(child: subprocess.Popen[bytes], folder: Path) -> None:
    """Stopped inside it, it would hold up the others, as another test shows."""
    [path] = folder.iterdir()
    fd = os.open(path, os.O_RDWR)
    while True:
        child.send_signal(signal.SIGSTOP)
        for _ in range(1000):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.close(fd)
                return
            os.sched_yield()
        child.send_signal(signal.SIGCONT)


def test_real_processes_share_one_cap_and_a_killed_or_stopped_one_holds_up_nobody(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    outs = [tmp_path / f"{number}.starts" for number in range(3)]
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(out)]) for out in outs
    ]

    def lines(number: int) -> list[str]:
        return outs[number].read_text().split("\n")[:-1] if outs[number].exists() else []

    def wait_until(number: int, count: int) -> None:
        wait_for(lambda: len(lines(number)) >= count, children[number])

    try:
        wait_until(0, 20)
        children[0].send_signal(signal.SIGKILL)
        wait_until(1, len(lines(1)) + 30)
        stop_outside_the_lock(children[1], folder)
        wait_until(2, len(lines(2)) + 60)
        children[1].send_signal(signal.SIGCONT)
        wait_until(1, len(lines(1)) + 30)
        wait_until(2, len(lines(2)) + 30)
    finally:
        for child in children:
            child.kill()
            child.wait()

    starts = sorted(float(line) for number in range(3) for line in lines(number))
    assert worst_window(starts) <= 200


# -- the file ------------------------------------------------------------------------------------

_HEADER = struct.Struct("=8sQddddd8x")


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"x" * SIZE,
        _HEADER.pack(b"bsnapq3\n", 5, float("nan"), 20.0, 0.0, 0.0, 0.0),
        _HEADER.pack(b"bsnapq3\n", 5, 1e300, 20.0, 0.0, 0.0, 0.0),
        _HEADER.pack(b"bsnapq3\n", 5, 1.0, 1e9, 0.0, 0.0, 0.0),
        _HEADER.pack(b"bsnapq3\n", 5, 1.0, 20.0, 0.0, float("nan"), 0.0),
        _HEADER.pack(b"bsnapq3\n", 5, 1.0, 20.0, 0.0, 0.01, 1e300),
        _HEADER.pack(b"bsnapq2\n", 0, 1.0, 20.0, 0.0, 0.0, 0.0),
        _HEADER.pack(b"bsnapq3\n", 1, 1.0, 20.0, 0.0, 0.0, 0.0) + struct.pack("=d", 7.0),  # future
    ],
    ids=["short", "long", "nan", "never", "rate", "margin", "learned", "format", "future"],
)
def test_a_damaged_file_is_emptied_and_said_to_be(tmp_path: Path, content: bytes) -> None:
    QuotaFile(tmp_path, QUOTA).close()
    [path] = tmp_path.iterdir()
    path.write_bytes(content)
    file = QuotaFile(tmp_path, QUOTA)
    assert file.lock()
    assert not file.read(5.0)
    assert (file.count, file.nth_last(1)) == (0, float("-inf"))
    file.add(5.0, 20.0, rate_per_s=20.0, margin_s=0.01)
    assert file.read(6.0)
    assert (file.count, file.previous_due, file.nth_last(1)) == (1, 5.0, 5.0)
    for strange in (float("nan"), 1e300):
        file.hold(0, strange)
        assert file.free_slot(1, 6.0) == (0, 6.0)
    file.close()
    file.close()


def test_each_quota_and_each_boot_has_a_file_and_old_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for quota in (QUOTA, QUOTA._replace(source="profile:a"), QUOTA._replace(host="h")):
        QuotaFile(tmp_path, quota).close()
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        os.utime(path, (0, 0))
    assert len(list(tmp_path.iterdir())) == 3

    monkeypatch.setattr(quota_file, "_boot_id", lambda: b"another")
    QuotaFile(tmp_path, QUOTA).close()

    assert len(list(tmp_path.iterdir())) == 3  # one more and one gone


def test_the_state_folder_falls_back_to_one_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    private = tmp_path / f"batchsnap-{os.getuid()}"

    assert state_folder() == private
    assert private.stat().st_mode & 0o777 == 0o700

    private.rmdir()
    (tmp_path / "elsewhere").mkdir()
    private.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        state_folder()

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "batchsnap"


# -- formats -------------------------------------------------------------------------------------


def test_processes_of_one_format_work_side_by_side_and_those_of_two_never(tmp_path: Path) -> None:
    one, like, other = AtWork(tmp_path), AtWork(tmp_path), AtWork(tmp_path, FORMAT + 1)

    assert one.begin() and like.begin()
    assert not other.begin()
    one.end()
    assert not other.begin()
    like.end()
    assert other.begin()
    assert not one.begin()
    other.end()
    assert one.begin()  # what is left of the files binds nobody
    one.end()


def test_files_of_two_formats_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    QuotaFile(tmp_path, QUOTA).close()
    monkeypatch.setattr(quota_file, "FORMAT", FORMAT + 1)
    QuotaFile(tmp_path, QUOTA).close()

    assert len(list(tmp_path.iterdir())) == 2


# -- the margin ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "kept"), [(0, 1.0), (24, 0.75), (26, 0.0), (100, 0.0)], ids=lambda value: f"{value}"
)
def test_what_a_gate_learned_of_the_network_the_next_one_knows_until_the_next_night(
    tmp_path: Path, hours: float, kept: float
) -> None:
    loop = VirtualLoop()

    async def learned(throttled: int) -> float:
        gate = LocalGate(20.0, clock=VirtualClock(loop), file=QuotaFile(tmp_path, QUOTA))
        began = gate.margin_s
        for _ in range(throttled):
            gate.replied(0, throttled=True)
        await gate.start()
        gate.close()
        return began

    async def main() -> float:
        await learned(5)
        loop.stall(hours * 3600)
        return await learned(0)

    margin_s = run_virtual(main(), loop) - law.MARGIN_MIN_S

    whole = law.MARGIN_STEP_S * 13
    assert margin_s == pytest.approx(whole * kept, abs=whole / 1000)
