"""What tells that a ledger lacks records: another file than it names, or a mark beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchsnap.errors import LedgerDamaged, LedgerError
from batchsnap.ledger import gap
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import Record, encode
from batchsnap.ledger.store import Ledger
from tests.records import AT, birth, moved

RESUMED: Record = {"event": "resumed", "at": AT}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger"
    Ledger.create(path, birth()).release()
    return path


def gap_of(path: Path) -> Gap:
    ledger = Ledger.open(path)
    ledger.release()
    return ledger.gap


async def resume(ledger: Ledger) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.commit)
        ledger.resume(RESUMED)
        ledger.close()
    ledger.release()


@pytest.mark.parametrize(
    ("change", "gap"),
    [
        (lambda home: home, Gap.NONE),
        (lambda home: {}, Gap.NONE),  # of an earlier version
        (lambda home: {**home, "path": "/elsewhere"}, Gap.LOST),
        (lambda home: {**home, "inode": home["inode"] + 1}, Gap.LOST),
        # the file system has given the number again
        (lambda home: {**home, "generation": home.get("generation", 0) + 1}, Gap.LOST),
    ],
)
def test_a_ledger_is_the_file_that_it_names(
    path: Path, change: Callable[[Any], Any], gap: Gap
) -> None:
    [header] = records(path)
    home = change(header["home"])
    path.write_bytes(encode(birth(home=home) if home else birth()))
    assert gap_of(path) is gap
    anyio.run(resume, Ledger.open(path))
    assert gap_of(path) is gap  # no life may have asked about every row
    ledger = Ledger.open(path)
    assert ledger.fold.home == header["home"]
    ledger.release()


def test_a_ledger_under_a_link_is_the_file_behind_it(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    assert gap_of(link) is Gap.NONE


def test_damage_that_was_met_is_remembered_for_the_copy_that_is_put_in_its_place(
    path: Path,
) -> None:
    good = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(LedgerDamaged, match="another program emptied it"):
        Ledger.open(path)
    path.write_bytes(good)
    assert gap_of(path) is Gap.LOST


def test_no_new_ledger_takes_the_place_of_a_lost_one(path: Path) -> None:
    gap.mark_lost(path, path.read_bytes())
    path.unlink()
    for use in (Ledger.find, lambda path: Ledger.create(path, birth())):
        with pytest.raises(LedgerError, match=r"is gone, .* without one `cp .*ledger.lost"):
            use(path)
    gap.lost(path).unlink()
    assert Ledger.find(path) is None


def test_the_mark_is_the_runs_first_line_and_stays_as_it_is(path: Path) -> None:
    async def cut() -> None:
        ledger = Ledger.open(path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ledger.commit)
            path.write_bytes(b"")
            with pytest.raises(LedgerError, match="was cut or overwritten"):
                await ledger.durable(ledger.append(moved("intent")))
            ledger.close()
        ledger.release()

    good = path.read_bytes()
    anyio.run(cut)
    assert gap.lost(path).read_bytes() == good
    with pytest.raises(LedgerDamaged, match="damaged at byte 0"):
        Ledger.open(path)
    assert gap.lost(path).read_bytes() == good
