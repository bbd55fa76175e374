"""Birth and lock: a ledger is born whole, by one process, and has one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchsnap.errors import LedgerError, LedgerForeign, LedgerLocked, LedgerUnwritable
from batchsnap.ledger import disk
from batchsnap.ledger.reading import records
from batchsnap.ledger.store import Ledger
from tests.ledger_files import ROOT
from tests.records import birth, lines_of, moved

_BIRTHS = """
import sys
from pathlib import Path
from batchsnap.errors import LedgerLocked
from batchsnap.ledger.store import Ledger
from tests.records import birth
print("up", flush=True)
kept = []
for path in sys.stdin:
    try:
        kept.append(Ledger.create(Path(path.strip()), birth(run_id=sys.argv[1])))
        print("born", flush=True)
    except LedgerLocked:
        print("locked", flush=True)
"""
_HOLDER = """
import sys
from pathlib import Path
from batchsnap.ledger.store import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def child(script: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.csv.ledger.jsonl"


@pytest.fixture
def born(path: Path) -> Iterator[Path]:
    Ledger.create(path, birth()).release()
    yield path


LACKS = {
    "link": ("os.link", errno.EPERM, "no hard links"),
    "lock": ("fcntl.flock", errno.ENOLCK, "no locks"),
    "folder": ("os.fsync", errno.EINVAL, "no way to make a name in a folder last"),
}


def lack(monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """A file system without one call; what is to be said."""
    where, number, says = LACKS[name]
    module = fcntl if where == "fcntl.flock" else os
    call = where.partition(".")[2]
    real = getattr(module, call)

    def missing(*args: Any) -> Any:
        if call == "fsync" and not stat.S_ISDIR(os.fstat(args[0]).st_mode):
            return real(*args)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, call, missing)
    return says


@pytest.mark.parametrize("name", LACKS)
def test_a_folder_that_lacks_a_call_is_told_and_nothing_is_left(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    says = lack(monkeypatch, name)

    with pytest.raises(LedgerUnwritable) as raised:
        Ledger.create(path, birth())

    for text in (f"the file system of {path.parent} has", says, "--ledger"):
        assert text in str(raised.value)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("name", ["lock", "folder"])
def test_a_ledger_that_was_brought_to_such_a_folder_is_not_opened(
    born: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    says = lack(monkeypatch, name)

    with pytest.raises(LedgerUnwritable, match=says):
        Ledger.open(born)


def test_a_name_that_may_not_last_is_made_to_last_at_the_next_opening(
    born: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maker may have died between the name and the folder's fsync."""
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)

    Ledger.open(born).release()

    assert synced == [born.parent]


def test_a_newborn_is_whole_private_and_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        ledger = Ledger.create(path, birth())
    finally:
        os.umask(before)
    assert [r["event"] for r in records(path)] == ["run"]
    assert path.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(path.parent) == [path.name]
    assert ledger.fold.header["run_id"] == "0f"
    assert not ledger.was_cut
    ledger.release()


def test_the_birth_is_on_disk_before_its_name_is_and_the_name_before_it_is_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noted(module: Any, name: str, word: str) -> None:
        real = getattr(module, name)

        def call(*args: Any, **options: Any) -> Any:
            folder = name == "fsync" and os.path.isdir(f"/proc/self/fd/{args[0]}")
            order.append("folder" if folder else word)
            return real(*args, **options)

        monkeypatch.setattr(module, name, call)

    noted(os, "write", "write")
    noted(os, "fsync", "fsync")
    noted(os, "link", "link")
    noted(fcntl, "flock", "lock")
    Ledger.create(path, birth()).release()
    assert order == ["write", "fsync", "lock", "link", "folder"]


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_birth_that_fails_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(LedgerUnwritable, match="No space left"):
        patch.setattr(os, call, fail)
        Ledger.create(path, birth())
    assert os.listdir(path.parent) == []


def test_a_header_that_is_no_json_leaves_nothing(path: Path) -> None:
    with pytest.raises(TypeError):
        Ledger.create(path, birth(manifest={"path": "\udcff"}))
    assert os.listdir(path.parent) == []


def test_no_ledger_is_born_over_another_file(born: Path) -> None:
    content = born.read_bytes()
    with pytest.raises(LedgerLocked, match="just created"):
        Ledger.create(born, birth(run_id="other"))
    assert born.read_bytes() == content
    assert os.listdir(born.parent) == [born.name]


def test_of_two_processes_born_at_one_moment_one_wins(tmp_path: Path) -> None:
    pair = [child(_BIRTHS, name) for name in ("one", "two")]
    assert [said(process) for process in pair] == ["up", "up"]
    for number in range(20):
        path = tmp_path / f"{number}.jsonl"
        for process in pair:
            assert process.stdin is not None
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
        outcomes = [said(process) for process in pair]
        assert sorted(outcomes) == ["born", "locked"]
        winner = ("one", "two")[outcomes.index("born")]
        assert [r["run_id"] for r in records(path)] == [winner]
        with pytest.raises(LedgerLocked):  # from its first moment on
            Ledger.open(path)
    for process in pair:
        ended(process)
    assert len(os.listdir(tmp_path)) == 20


def test_a_second_process_is_kept_out_until_the_first_is_dead(born: Path) -> None:
    holder = child(_HOLDER, str(born))
    assert said(holder) == "held"
    with pytest.raises(LedgerLocked, match="another process is at work"):
        Ledger.open(born)
    assert [r["event"] for r in records(born)] == ["run"]  # readers are not
    holder.kill()
    ended(holder)
    Ledger.open(born).release()


def test_a_second_opening_in_the_same_process_is_kept_out(born: Path) -> None:
    ledger = Ledger.open(born)
    list(records(born))  # and closing a reader's file frees nothing
    with pytest.raises(LedgerLocked):
        Ledger.open(born)
    ledger.release()


def test_a_file_replaced_between_open_and_lock_is_not_the_one_that_is_locked(
    born: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, swaps = fcntl.flock, iter([True])

    def flock(fd: int, how: int) -> None:
        if next(swaps, False):
            born.rename(born.with_suffix(".old"))
            born.write_bytes(b"".join(lines_of([moved("intent")])))
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    ledger = Ledger.open(born)
    assert list(ledger.fold.cohorts) == ["disk-00000001"]
    ledger.release()


def test_a_file_moved_away_between_open_and_lock_is_none(
    born: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def flock(fd: int, how: int) -> None:
        born.rename(born.with_suffix(".old"))
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LedgerUnwritable, match="No such file"):
        Ledger.open(born)


@pytest.mark.parametrize(
    ("content", "error"),
    [(b'{"level":"info"}\n', "no `run`"), (b"DiskId\ndisk-1\n", "no `run`")],
)
def test_what_is_no_ledger_is_left_untouched(path: Path, content: bytes, error: str) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerForeign, match=error):
        Ledger.open(path)
    with pytest.raises(LedgerForeign, match=error):
        list(records(path))
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, said_of_it in ((tmp_path, "Is a directory"), (pipe, "no regular file")):
        with pytest.raises(LedgerUnwritable, match=said_of_it):
            Ledger.open(path)
    with pytest.raises(LedgerError, match="Is a directory"):
        list(records(tmp_path))
    with pytest.raises(LedgerError, match="No such file"):
        list(records(tmp_path / "nowhere"))


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnwritable, match="No such file"):
        Ledger.create(tmp_path / "nowhere" / "ledger", birth())


def test_behind_a_link_the_file_is_born_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link, target = tmp_path / "ledger", tmp_path / "data" / "real"
    link.symlink_to(target)
    Ledger.create(link, birth()).release()
    assert target.is_file()
    assert link.is_symlink()
    with target.open("ab") as file:
        file.write(b"torn")
    ledger = Ledger.open(link)
    assert ledger.was_cut
    assert disk.broken(link) == target.with_name("real.broken")
    assert disk.broken(link).read_bytes() == b"torn"
    ledger.release()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that takes no files: by its mode, or for root (whom modes don't stop) a tmpfs
    that is mounted read-only."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"root without the right to mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder_takes_no_ledger(read_only: Path) -> None:
    with pytest.raises(LedgerUnwritable, match="can't create a ledger in"):
        Ledger.create(read_only / "ledger", birth())
