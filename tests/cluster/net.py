"""A network between a worker and the database, in namespaces of its own, that can be cut in both
directions: packets vanish, and nobody is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


class Network:
    """This host, a router, and a far namespace; `address` is the far end's."""

    def __init__(self) -> None:
        number = os.getpid() % 60000
        self.router, self.far = f"bsr{number}", f"bsf{number}"
        self._near = f"bsn{number}"
        self._net = f"10.213.{number % 250}"
        self.address = f"{self._net}.6"

    def make(self) -> None:
        net, near, router, far = self._net, self._near, self.router, self.far
        for space in (router, far):
            _ip(f"netns add {space}")
            _ip(f"-n {space} link set lo up")
        _ip(f"link add dev {near} type veth peer name v0 netns {router}")
        _ip(f"-n {router} link add dev v1 type veth peer name v2 netns {far}")
        _ip(f"addr add {net}.1/30 dev {near}")
        _ip(f"-n {router} addr add {net}.2/30 dev v0")
        _ip(f"-n {router} addr add {net}.5/30 dev v1")
        _ip(f"-n {far} addr add {net}.6/30 dev v2")
        _ip(f"link set {near} up")
        for space, device in ((router, "v0"), (router, "v1"), (far, "v2")):
            _ip(f"-n {space} link set {device} up")
        _ip(f"route add {net}.4/30 via {net}.2")
        _ip(f"-n {far} route add default via {net}.5")
        self.heal()

    @property
    def prefix(self) -> tuple[str, ...]:
        """Of a command that shall run at the far end."""
        return ("ip", "netns", "exec", self.far)

    def cut(self) -> None:
        self._forward(0)

    def heal(self) -> None:
        self._forward(1)

    def _forward(self, on: int) -> None:
        _ip(f"netns exec {self.router} sysctl -qw net.ipv4.ip_forward={on}")

    def close(self) -> None:
        for words in (
            f"link del {self._near}",
            f"netns del {self.router}",
            f"netns del {self.far}",
        ):
            with suppress(subprocess.CalledProcessError):
                _ip(words)


@contextmanager
def network() -> Iterator[Network]:
    """Skips where this machine lets nobody make one."""
    made = Network()
    try:
        try:
            made.make()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield made
    finally:
        made.close()


@contextmanager
def distant(socket: Path, one_way_s: float) -> Iterator[int]:
    """A port of loopback from which everything takes so long to the socket, and as long back."""
    command = [sys.executable, "-m", "tests.cluster.delay", str(socket), str(one_way_s)]
    here = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()
