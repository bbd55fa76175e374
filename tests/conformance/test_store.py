"""One suite for every kind of ledger, as those meet it who open and read it; a new kind is one more
entry in `STORES`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from batchsnap.engine.executor import committing
from batchsnap.errors import LedgerError, LedgerLocked
from batchsnap.ledger.file import FileStore
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.ports import RecordSink, Store
from batchsnap.ledger.record import Record
from batchsnap.lifecycle import State
from tests.memory import MemoryStore
from tests.records import AT, birth, moved

DISK = "disk-00000001"


def in_a_file(folder: Path) -> Store:
    return FileStore(folder / "a.ledger.jsonl")


def in_memory(folder: Path) -> Store:
    return MemoryStore("a.ledger.jsonl")


STORES: list[Callable[[Path], Store]] = [in_a_file, in_memory]


@pytest.fixture(params=STORES, ids=lambda kind: kind.__name__)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made: Store = request.param(tmp_path)
    return made


def write(sink: RecordSink, *records: Record) -> None:
    """Append and commit."""

    async def written() -> None:
        async with committing(sink):
            for record in records:
                await sink.durable(sink.append(record))

    anyio.run(written)


def events(store: Store) -> list[str]:
    return [record["event"] for record in store.records()]


def test_what_was_never_born_is_found_by_nobody(store: Store) -> None:
    assert not store.exists()
    assert store.find() is None
    for use in (store.open, lambda: list(store.records())):
        with pytest.raises(LedgerError):
            use()
    assert not store.exists()


def test_it_is_born_once_and_belongs_to_who_bore_it(store: Store) -> None:
    sink = store.create(birth(run_id="first"))
    for use in (store.open, store.find, lambda: store.create(birth(run_id="second"))):
        with pytest.raises(LedgerLocked):
            use()
    sink.release()
    with pytest.raises(LedgerLocked):
        store.create(birth(run_id="second"))
    found = store.find()
    assert found is not None
    assert found.fold.header["run_id"] == "first"
    found.release()


def test_what_was_written_is_read_without_the_lock_and_by_the_next_owner(store: Store) -> None:
    sink = store.create(birth())
    write(sink, moved("intent"), moved("accepted", snapshot_id="s"))
    assert events(store) == ["run", "intent", "accepted"]
    assert [record["event"] for record in sink.records()] == events(store)
    sink.release()
    again = store.open()
    assert again.fold.standing(DISK).state is State.ACCEPTED
    again.resume({"event": "resumed", "at": AT, "tool": "batchsnap/1", "settings": {"name": "x"}})
    write(again, moved("ready", snapshot_id="s"))  # a stretch of work after another
    write(again, {"event": "finished", "at": AT, "exit": 0})
    again.release()
    assert events(store) == ["run", "intent", "accepted", "resumed", "ready", "finished"]
    assert [record.get("seq", 0) for record in store.records()] == [0, 1, 2, 3, 4, 5]
    with closing(store.records()) as half:  # type: ignore[type-var]
        assert next(half)["event"] == "run"


def test_an_open_ledger_says_what_it_is(store: Store) -> None:
    sink = store.create(birth())
    assert store.name in store.label
    assert store.name in sink.label
    assert (sink.was_cut, sink.lost, sink.gap) == (False, "", Gap.NONE)
    assert all(store.warnings())
    sink.release()
    assert store.exists()


def test_a_tap_sees_each_record_when_it_is_taken(store: Store) -> None:
    sink = store.create(birth())
    seen: list[tuple[str, State]] = []
    sink.taps.append(lambda record: seen.append((record["event"], sink.fold.standing(DISK).state)))
    write(sink, moved("intent"), moved("accepted", snapshot_id="s"))
    sink.release()
    assert seen == [("intent", State.SENT), ("accepted", State.ACCEPTED)]


def test_a_follower_reads_on_where_it_stopped(store: Store) -> None:
    sink = store.create(birth())
    follower = store.follow()

    def caught_up() -> list[str]:
        found: list[str] = []
        while more := follower.more():
            found += [record["event"] for record in more]
        assert more == []
        return found

    assert caught_up() == ["run"]
    assert caught_up() == []
    write(sink, moved("intent"), moved("unsent"))
    sink.release()
    assert caught_up() == ["intent", "unsent"]
    assert caught_up() == []


def test_the_digest_is_of_the_first_lines_whatever_came_after(store: Store) -> None:
    sink = store.create(birth())
    write(sink, moved("intent"))
    before, first = store.digest(2), store.digest(1)
    write(sink, moved("unsent"))
    sink.release()
    assert store.digest(2) == before
    assert len({first, before, store.digest(3)}) == 3
