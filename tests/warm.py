"""The command line as processes that are born ready: forked from one that has imported it all.

Most tests run a few short commands, and an interpreter with its imports is nearly all that those
cost. Here one process a test worker imports everything once and does nothing else; each command
is a fork of it: a process of its own, with a pid, signals, files and sockets as any other. Where
it would differ from one that started afresh (a variable that an interpreter reads as it starts, a
module in its folder, a system where forks are no use), `popen` starts it afresh; so does `fresh`,
for tests of the start itself.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

MODULE = "batchsnap"
_LAZY = ("aiohttp.web", "jinja2", "prometheus_client", "psycopg", "rich.live", "rich.table")
_MOST_BYTES = 1 << 18  # of a request
_READ_LATE = ("BATCHSNAP_", "TENCENTCLOUD_", "TCCLI_", "TKE_", "XDG_STATE_HOME", "HOME")


def fresh(args: tuple[str, ...], folder: Path, env: dict[str, str], **pipes: Any) -> Any:
    """A command by an interpreter of its own."""
    command = [sys.executable, "-m", MODULE, *args]
    return subprocess.Popen(command, cwd=folder, env=env, text=True, **pipes)


def popen(args: tuple[str, ...], folder: Path, env: dict[str, str], **pipes: Any) -> Any:
    """A command, born ready where that makes no difference; `pipes` as for Popen."""
    same = _born_with(env) == interpreter() and not any(folder.glob("*.py"))
    if sys.platform == "linux" and same:
        return Warm([MODULE, *args], cwd=folder, env=env, text=True, **pipes)
    return fresh(args, folder, env, **pipes)


def interpreter() -> dict[str, str]:
    """What an interpreter under test has of the environment, whatever the command."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "SSL_CERT_FILE": os.devnull,  # reading the host's takes a fifth of a process's start
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }


def _born_with(env: dict[str, str]) -> dict[str, str]:
    """What an interpreter or a library may have read as it started."""
    return {name: value for name, value in env.items() if not name.startswith(_READ_LATE)}


class Warm(subprocess.Popen[str]):
    """Popen, but for how its process comes to be and how its end is heard of."""

    def _execute_child(self, args: Any, executable: Any, *more: Any) -> None:
        """Of `more` only the folder, the environment and the streams are heeded."""
        _, _, _, folder, env, _, _, _, *streams = more[:14]
        stdin, _, _, stdout, _, stderr = streams
        told, tell = os.pipe()
        request = json.dumps({"args": args[1:], "folder": str(folder), "env": env}).encode()
        line, _ = _nest()
        socket.send_fds(line, [request], [stdin, stdout, stderr, tell])
        os.close(tell)
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._told.readline())
        self._child_created = True
        self._close_pipe_fds(*streams)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        return self.returncode if self.returncode is not None else self._heard(0)

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None and self._heard(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def _heard(self, timeout_s: float | None) -> int | None:
        """Its exit code, where it has ended by then."""
        ended = select.poll()
        ended.register(self._told, select.POLLIN)
        if ended.poll(None if timeout_s is None else timeout_s * 1000):
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode


@cache
def _nest() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process of which all are forked, and a line to it, at whose end it ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.warm", str(theirs.fileno())]
        nothing = subprocess.DEVNULL
        nest = subprocess.Popen(
            command, env=interpreter(), stdin=nothing, stdout=nothing, pass_fds=[theirs.fileno()]
        )
    return ours, nest


def _serve(line: socket.socket) -> bool:
    """In the nest: fork for each who asks until nobody does. True in a process that is to be a
    command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers leave nothing behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the tests, who then hang up
    while True:
        asked, fds, _, _ = socket.recv_fds(line, _MOST_BYTES, 4)
        if not asked:
            return False
        assert threading.active_count() == 1
        if os.fork() == 0:
            line.close()
            _keep(json.loads(asked), fds)
            return True
        for fd in fds:
            os.close(fd)


def _keep(asked: dict[str, Any], fds: list[int]) -> None:
    """Fork once more, and tell the pid and at last the exit code, which only a parent hears.
    Comes back in the child."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, tell = fds
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        _become(asked, streams)
        return
    for fd in (*streams, 0, 1, 2):
        os.close(fd)
    os.write(tell, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):  # nobody waits for it
        os.write(tell, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(asked: dict[str, Any], streams: list[int]) -> None:
    """What an exec would have set."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = [MODULE, *asked["args"]]
    importlib.reload(importlib.import_module("batchsnap.failpoints"))  # reads the environment


def _import_all() -> None:
    package = importlib.import_module(MODULE)
    names = [found.name for found in pkgutil.walk_packages(package.__path__, f"{MODULE}.")]
    for name in (*_LAZY, *names):
        if not name.endswith("__main__"):
            with suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(name)
    gc.freeze()


def _run() -> None:
    """The command. What its end would do is done, but for taking apart what was imported, which
    takes longer than most commands and copies the memory that is shared until then."""
    from batchsnap.cli.main import main

    try:
        main()
    except SystemExit as ended:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        gc.collect()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(ended.code or 0))
        raise


if __name__ == "__main__":
    _import_all()
    if _serve(socket.socket(fileno=int(sys.argv[1]))):
        _run()
