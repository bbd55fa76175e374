"""A terminal for a process under test: what stands on its screen, and one that nobody reads."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

from tests.process import Cli, environment

_PART = re.compile(r"\x1b\[(\?)?([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


def on_a_terminal(
    cli: Cli, *args: str, held: bool = False, **env: str
) -> tuple[subprocess.Popen[str], int]:
    """batchsnap with a live view, and the master of its terminal; `held` as by Ctrl-S: it takes
    not one byte more."""
    master, slave = pty.openpty()
    if held:
        fill(slave)
    process = subprocess.Popen(
        [sys.executable, "-m", "batchsnap", *args],
        cwd=cli.folder,
        env=environment(cli.folder, TERM="xterm", **env),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        text=True,
    )
    os.close(slave)
    return process, master


def fill(fd: int) -> int:
    """Write until nothing more goes in; how many bytes went."""
    os.set_blocking(fd, False)
    number = 0
    try:
        while True:
            number += os.write(fd, b"." * 1000)
    except BlockingIOError:
        pass
    try:
        while True:
            number += os.write(fd, b".")
    except BlockingIOError:
        pass
    os.set_blocking(fd, True)
    return number


def read_to_end(fd: int) -> str:
    """All that comes until the other side is gone."""
    whole = b""
    try:
        while more := os.read(fd, 1 << 16):
            whole += more
    except OSError:  # how a terminal's end reads
        pass
    return whole.decode()


def screen(text: str) -> list[str]:
    """The lines that stand on an endless terminal after `text` was written to it."""
    lines, row, column = [""], 0, 0
    for private, number, letter, control, words in _PART.findall(text):
        if control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif letter == "A":
            row = max(0, row - int(number or 1))
        elif letter == "K":
            assert number == "2"
            lines[row] = ""
        elif words:
            lines[row] = (
                lines[row].ljust(column)[:column] + words + lines[row][column + len(words) :]
            )
            column += len(words)
        else:
            assert private or letter == "m", (number, letter)  # the cursor's look, colours
    return [line.rstrip() for line in lines]
