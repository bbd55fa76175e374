"""Reports as files, and stories of ledgers with and without their manifest."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import threading
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from rich.console import Console

from batchsnap.cli.commands.status import view_screen
from batchsnap.errors import LedgerError, UsageError
from batchsnap.ledger import file as file_module
from batchsnap.ledger.file import FileStore
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import Record, encode
from batchsnap.owners.view import RunView
from batchsnap.report.files import write_whole
from batchsnap.report.page import render_page, write_page
from batchsnap.report.story import Story, lines_of, read_story
from batchsnap.report.summary import summary_of
from tests.ledgers import header, request, write_ledger, write_manifest, write_records


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return write_ledger(tmp_path / "l.jsonl", 100)


def story_of(ledger: Path) -> Story:
    return read_story(FileStore(ledger))


def written_with_manifest(folder: Path, rows: int, extra: str = "") -> Path:
    """A ledger of `rows` rows whose last region was halted half way, and its manifest."""
    manifest = write_manifest(folder / "fleet.csv", rows)
    with manifest.open("a") as file:
        file.write(extra)
    return write_ledger(folder / "l.jsonl", rows, halted=True, manifest=manifest)


def embedded(page: str) -> str:
    """The JSON inside a page, as the browser takes it."""
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


# ---- files -------------------------------------------------------------------------------------


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.html"
    write_whole(out, b"old")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_whole(out, b"new")

    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_report_never_lands_on_the_runs_own_files(tmp_path: Path) -> None:
    ledger = written_with_manifest(tmp_path, 60)
    before = ledger.read_bytes()
    (tmp_path / "link").symlink_to(ledger)
    (tmp_path / "hard").hardlink_to(ledger)

    for name in ("l.jsonl", "link", "hard", "fleet.csv"):
        with pytest.raises(UsageError, match="belongs to the run"):
            write_page(FileStore(ledger), tmp_path / name)

    assert ledger.read_bytes() == before
    assert (tmp_path / "fleet.csv").read_text().startswith("DiskId")


def test_links_modes_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real", tmp_path / "link", tmp_path / "pipe"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()

    write_whole(link, b"new")
    write_whole(pipe, b"through")
    reader.join()

    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert heard == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


# ---- stories -----------------------------------------------------------------------------------


def test_the_manifest_gives_its_order_and_the_rows_never_tried(tmp_path: Path) -> None:
    story = story_of(written_with_manifest(tmp_path, 120))

    lines = lines_of(story)

    assert [fact.disk_id for fact in lines.facts] == [request(i).disk_id for i in range(120)]
    assert len(lines.rows) == 120
    assert lines.note == ""
    assert sum(fact.state == "pending" for fact in lines.facts) == story.summary.pending > 10
    assert len(story.facts.by_key) < 120


def test_a_manifest_that_is_not_the_same_is_not_used(tmp_path: Path) -> None:
    ledger = written_with_manifest(tmp_path, 60)
    known = len(story_of(ledger).facts.by_key)
    (tmp_path / "fleet.csv").write_text("DiskId,Region\ndisk-deadbeef,ap-tokyo\n")
    changed = lines_of(story_of(ledger))
    (tmp_path / "fleet.csv").unlink()
    gone = lines_of(story_of(ledger))
    unreadable = lines_of(story_of(written_with_manifest(tmp_path, 60, extra="nonsense\n")))

    assert [len(found.facts) for found in (changed, gone, unreadable)] == [known] * 3
    assert "has changed since" in changed.note
    assert "is gone" in gone.note
    assert "can't be read again" in unreadable.note
    assert all("rows never tried are not listed" in f.note for f in (changed, gone, unreadable))


def test_unsent_rows_carry_the_runs_profile_and_earlier_rows_are_counted(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("DiskId,Region\ndisk-0000000b,ap-tokyo\n")
    born = header(tmp_path / "l", 1, manifest)
    born["settings"] = {"profile": "nightly"}
    dropped = request(1)
    first: Record = {
        **{"event": "intent", "key": dropped.key, "disk_id": dropped.disk_id},
        **{"disk_backup_id": None, "region": "r", "profile": "nightly", "attempt": 1},
        **{"at": born["at"]},
    }

    lines = lines_of(story_of(write_records(tmp_path / "l", [born, first])))

    assert [(fact.disk_id, fact.profile) for fact in lines.facts] == [("disk-0000000b", "nightly")]
    assert lines.note == "1 rows of an earlier manifest are not listed"


def test_the_digest_is_of_what_was_read(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ledger.read_bytes()

    def growing(path: Path) -> Iterator[Record]:
        yield from records(path)
        with path.open("ab") as file:  # the run goes on while its story is read
            file.write(encode({"seq": 10**6, "synced": 0, "event": "finished", "exit": 0}))

    monkeypatch.setattr(file_module, "records", growing)
    story = story_of(ledger)

    assert story.digest == sha256(whole).hexdigest()
    assert story.records == whole.count(b"\n")
    assert ledger.stat().st_size > len(whole)


def test_no_ledger_is_a_ledger_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        story_of(tmp_path / "missing.jsonl")


# ---- the page ----------------------------------------------------------------------------------


def test_the_policy_names_every_script_and_style_and_nothing_else(ledger: Path) -> None:
    page = render_page(story_of(ledger))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    inside = re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", page, re.DOTALL)
    hashes = {b64encode(sha256(text.encode()).digest()).decode() for text in inside}

    assert len(inside) == 4
    assert set(re.findall(r"'sha256-([^']+)'", policy[1])) == hashes
    assert policy[1].startswith("default-src 'none'")
    assert "unsafe" not in policy[1]
    assert not re.search(r"<[^>]+\s(?:src|href|style|on\w+)=", page.split("<script")[0])
    assert "MIT License, (c) 2022 Leon Sorokin" in page


def test_hostile_text_ends_no_element(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><!--"
    ledger = write_ledger(tmp_path / "l.jsonl", 200, message=hostile, name=hostile)

    page = render_page(story_of(ledger))
    data = embedded(page)

    assert "alert(1)</script>" not in page
    assert "<" not in data
    assert hostile in json.loads(data)["rows"]["name"]["words"]


def test_the_page_lists_rows_never_tried_and_says_where_it_cannot(tmp_path: Path) -> None:
    story = story_of(written_with_manifest(tmp_path, 120))
    whole = render_page(story)
    (tmp_path / "fleet.csv").unlink()
    less = render_page(story)

    def count(page: str) -> int:
        return int(json.loads(embedded(page))["count"])

    assert count(whole) == 120
    assert count(less) == len(story.facts.by_key)
    assert "rows never tried are not listed" in less
    assert "rows never tried are not listed" not in whole
    assert "delete old snapshots of the region" in whole  # the halt's remedy


# ---- the live view -----------------------------------------------------------------------------


def test_the_live_view_says_where_it_stands_and_why(tmp_path: Path) -> None:
    view = RunView(FileStore(write_ledger(tmp_path / "l.jsonl", 400, halted=True, finished=False)))
    view.read()
    console = Console(file=io.StringIO(), width=100, color_system=None)

    console.print(view_screen(view))
    drawn = console.file.getvalue()  # type: ignore[attr-defined]

    summary = summary_of(view.fold)
    assert f"{summary.accepted + summary.ready} done of 400" in drawn
    assert f"{summary.pending} pending" in drawn
    assert "in doubt: disk-" in drawn
    assert "halted eu-frankfurt: InsufficientSnapshotQuota" in drawn
    assert "2 rejected: InvalidDisk.NotSupported  take the disk out" in drawn
    assert len(drawn.splitlines()) <= 12
    assert max(map(len, drawn.splitlines())) <= 100


def test_the_page_of_a_run_that_goes_on_says_as_of_when(tmp_path: Path) -> None:
    going = story_of(write_ledger(tmp_path / "g.jsonl", 300, finished=False))
    page = render_page(going)
    assert f"this is how it stood at {going.as_of[:19].replace('T', ' ')} UTC" in page
    assert "how it stood" not in render_page(story_of(write_ledger(tmp_path / "f.jsonl", 300)))


def test_a_cap_that_nothing_tried_is_not_called_held(tmp_path: Path) -> None:
    page = render_page(story_of(write_ledger(tmp_path / "l.jsonl", 0)))
    assert ">held<" not in page
    assert "Nothing was sent." in page
    assert ">held<" in render_page(story_of(write_ledger(tmp_path / "m.jsonl", 12)))
