"""Nobody reads: a terminal held by Ctrl-S, a session that hangs, a pipe whose reader sleeps. The
run goes on, and ends by itself or by SIGTERM; results wait for their reader, talk does not."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.ledgers import write_ledger
from tests.process import Cli, environment, sets, simulator, wait_for, write_fleet
from tests.terminal import fill, on_a_terminal

ROWS = 30
ENDS = pytest.mark.parametrize("number", [None, signal.SIGTERM], ids=["itself", "SIGTERM"])


@contextmanager
def pipe(*, full: bool = True) -> Iterator[tuple[int, int, int]]:
    """(its end to read, its end to write, how many bytes are in it)."""
    reader, writer = os.pipe()
    held = fill(writer) if full else 0
    try:
        yield reader, writer, held
    finally:
        os.close(reader)


def start(cli: Cli, *args: str, out: int | IO[Any], err: int | IO[Any], **env: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "batchsnap", *args],
        cwd=cli.folder,
        env=environment(cli.folder, **env),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        text=True,
    )


@ENDS
def test_a_terminal_that_nobody_reads(cli: Cli, tmp_path: Path, number: int | None) -> None:
    write_fleet(tmp_path, ROWS)
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud:
        to = {"BATCHSNAP_ENDPOINT": cloud.url}
        process, master = on_a_terminal(cli, "run", "fleet.csv", "--yes", held=True, **to)
        try:
            cloud.wait_for(lambda state: state["created"] >= 5, process)
            if number is not None:
                process.send_signal(number)

            assert process.wait(30) == (143 if number else 0)
        finally:
            process.kill()
            os.close(master)
        made = cloud.state()["created"]
    assert (made < ROWS) == (number is not None)
    assert len([r for r in cli.records() if r["event"] == "accepted"]) == made


@ENDS
def test_a_pipe_that_nobody_reads(cli: Cli, tmp_path: Path, number: int | None) -> None:
    write_fleet(tmp_path, ROWS)
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud, pipe() as (_, writer, _held):
        to = {"BATCHSNAP_ENDPOINT": cloud.url}
        process = start(
            cli, "run", "fleet.csv", "-vv", "--json", out=subprocess.PIPE, err=writer, **to
        )
        os.close(writer)
        try:
            cloud.wait_for(lambda state: state["created"] >= 5, process)
            if number is not None:
                process.send_signal(number)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()

        assert process.returncode == (143 if number else 0)
        assert json.loads(out)["accepted"] == cloud.state()["created"]


def test_results_wait_for_their_reader(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 3)
    with simulator(tmp_path) as cloud, pipe() as (reader, writer, held):
        to = {"BATCHSNAP_ENDPOINT": cloud.url}
        process = start(cli, "run", "fleet.csv", "--json", out=writer, err=subprocess.DEVNULL, **to)
        os.close(writer)
        ledger = tmp_path / "fleet.csv.ledger.jsonl"
        wait_for(lambda: ledger.exists() and b'"finished"' in ledger.read_bytes(), process)
        with os.fdopen(os.dup(reader), "rb") as stream:
            out = stream.read()

        assert process.wait(30) == 0
    assert json.loads(out[held:])["accepted"] == 3


def test_results_wait_where_their_pipe_does_not(cli: Cli, tmp_path: Path) -> None:
    """Another program that holds the same pipe has made it O_NONBLOCK."""
    write_ledger(tmp_path / "run.jsonl", 400)
    with pipe(full=False) as (reader, writer, _):
        os.set_blocking(writer, False)
        capacity = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
        process = start(
            cli, "report", "run.jsonl", "--format", "json", out=writer, err=subprocess.PIPE
        )
        os.close(writer)
        while _waiting_in(reader) < capacity and process.poll() is None:
            pass
        with os.fdopen(os.dup(reader), "rb") as stream:
            out = stream.read()
        _, err = process.communicate(timeout=30)

    assert process.returncode == 0, err
    assert len(json.loads(out)["rows"]) == 400


def _waiting_in(reader: int) -> int:
    number = bytearray(4)
    fcntl.ioctl(reader, termios.FIONREAD, number)
    return int.from_bytes(number, sys.byteorder)


def test_what_is_lost_is_told_when_the_reader_is_back(cli: Cli) -> None:
    """More than is kept for a reader who sleeps; its first and its last words are there."""
    script = (
        "import sys\n"
        "from batchsnap.cli.output import outlive_readers, talk_writer\n"
        "from batchsnap.cli.output import say\n"
        "outlive_readers()\n"
        "for number in range(3000): say(f'{number:<1000}|')\n"
        "sys.stdout.write('said'); sys.stdout.flush()\n"
        "while talk_writer().behind: pass\n"
        "say('after'); say('all')\n"
    )
    with pipe() as (reader, writer, held):
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment(cli.folder),
            stdout=subprocess.PIPE,
            stderr=writer,
        )
        os.close(writer)
        assert process.stdout is not None
        assert process.stdout.read(4) == b"said"
        with os.fdopen(os.dup(reader), "rb") as stream:
            lines = stream.read()[held:].decode().splitlines()
        process.communicate(timeout=30)

    kept = len(lines) - 3
    assert 500 < kept < 3000
    assert [line.split()[0] for line in lines[:kept]] == [str(number) for number in range(kept)]
    assert lines[kept:] == ["what was said here meanwhile is lost: nobody read it", "after", "all"]
