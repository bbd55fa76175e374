"""A bad network between the real command line and the simulator: what it does costs no row twice.

One run meets every mishap of the proxy.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batchsnap.cloud.transport import BODY_MAX_BYTES
from tests.front import MISHAPS, Front, fronted, http, listening
from tests.process import SECRET_KEY, Cli, Done, disk, sets, simulator, write_fleet

FAST = ("--rate", "400", "--api-limit", "400", "--settle-for", "0.5s")
ROWS = len(MISHAPS) + 6  # some meet none


@dataclass
class Outcome:
    """A run through the bad network."""

    done: Done
    records: list[dict[str, Any]]
    snapshots: dict[str, str]  # id -> disk
    front: Front
    strangers: list[bytes]  # what came where the redirect pointed


def through_the_bad_network(folder: Path) -> Outcome:
    cli, strangers = Cli(folder), []
    write_fleet(folder, ROWS)
    with (
        simulator(folder, *sets(cap_per_s=0, creating_s=0.0)) as cloud,
        listening(lambda client: strangers.append(client.recv(100))) as elsewhere,
        fronted(cloud, elsewhere=elsewhere) as front,
    ):
        front.mishaps = {disk(i): mishap for i, mishap in enumerate(MISHAPS)}
        options = (*FAST, "--timeout", "2s", "--endpoint", front.url)
        done = cli.run("run", "fleet.csv", "--json", *options)
        snapshots = {s["snapshot_id"]: s["disk_id"] for s in cloud.state()["snapshots"]}
    return Outcome(done, cli.records(), snapshots, front, strangers)


def test_a_bad_network_costs_no_row_twice(tmp_path: Path) -> None:
    outcome = through_the_bad_network(tmp_path)

    every_row_has_one_snapshot(outcome)
    for number, code in enumerate(MISHAPS.values()):
        a_mishap_is_a_doubt_that_is_settled(outcome, number, code)
    what_does_not_end_is_cut_off(outcome)
    assert outcome.strangers == [], "a redirect was followed"
    the_secret_is_nowhere(outcome)


def every_row_has_one_snapshot(outcome: Outcome) -> None:
    assert outcome.done.code == 0, outcome.done.err
    assert sorted(outcome.snapshots.values()) == [disk(i) for i in range(ROWS)]
    told = {r["snapshot_id"]: r["disk_id"] for r in outcome.records if r["event"] == "accepted"}
    assert told == outcome.snapshots
    assert outcome.done.json["doubled"] == 0


def a_mishap_is_a_doubt_that_is_settled(outcome: Outcome, number: int, code: str) -> None:
    story = [r for r in outcome.records if r.get("key") == disk(number)]
    events = [r["event"] for r in story]

    assert story[1]["code"] == code
    assert events[:3] == ["intent", "in_doubt", "settled"]
    assert events[3] == ("accepted" if story[2]["found"] else "intent")
    assert "accepted" in events


def what_does_not_end_is_cut_off(outcome: Outcome) -> None:
    assert len(outcome.front.streamed) == 2
    for sent in outcome.front.streamed.values():
        assert sent < 4 * BODY_MAX_BYTES  # ours and what lies in the buffers of the kernel


def the_secret_is_nowhere(outcome: Outcome) -> None:
    told = [outcome.done.out, outcome.done.err, *map(str, outcome.records)]

    assert not any(SECRET_KEY in text or "TC3-HMAC" in text for text in told)
    assert not any(SECRET_KEY.encode() in head for head in outcome.front.heads)


def test_no_tls_behind_the_port_spends_no_row(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 200)
    seen: list[bytes] = []

    def plain(client: socket.socket) -> None:
        seen.append(client.recv(1000))
        client.sendall(http(b"400 Bad Request", b""))

    with listening(plain) as port:
        url = f"https://127.0.0.1:{port}"
        done = cli.run("run", "fleet.csv", "--json", "--endpoint", url, "--retry-for", "2s")

    assert done.code == 5, done.err
    assert done.json["pending"] + done.json["deferred"] == 200
    assert {r["code"] for r in cli.records() if r["event"] == "deferred"} == {"fault.tls"}
    # The quota pauses and probes; without that it would have tried 20 in each second.
    assert sum(r["event"] == "intent" for r in cli.records()) < 30
    assert not any(b"TC3-HMAC" in data for data in seen)


def _certificate(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for the host that signs itself, and a server's context with it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    key, made = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", made, "-subj", f"/CN={host}"),
            *("-addext", f"subjectAltName=DNS:{host}"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


def test_https_goes_through_the_proxy_to_a_host_that_only_it_knows(
    cli: Cli, tmp_path: Path
) -> None:
    write_fleet(tmp_path, 10)
    certificate, tls = _certificate(tmp_path, "cbs.cloud.invalid")
    asked: list[bytes] = []

    def proxy(client: socket.socket) -> None:
        """CONNECT, whatever the host, leads to the front."""
        stream = client.makefile("rb", buffering=0)  # not a byte of what follows the head
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stream.read(1) or b"\r\n\r\n"
        asked.append(head)
        port = int(front.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client))
            back.start()
            _pump(client, server)
            back.join()

    with (
        simulator(tmp_path, *sets(cap_per_s=0)) as cloud,
        fronted(cloud, tls=tls) as front,
        listening(proxy) as port,
    ):
        env = {"HTTPS_PROXY": f"http://127.0.0.1:{port}", "SSL_CERT_FILE": str(certificate)}
        url = "https://cbs.cloud.invalid"
        real = (*FAST, "--settle-for", "15s", "--endpoint", url)  # the name is no loopback address
        done = cli.run("run", "fleet.csv", "--json", *real, **env)
        untrusted = cli.run(
            *("run", "fleet.csv", "--json", *real, "--retry-for", "1s"),
            *("--ledger", "other.jsonl"),
            HTTPS_PROXY=env["HTTPS_PROXY"],
        )

        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(10)}
    assert untrusted.code == 3, untrusted.err
    assert "SSL_CERT_FILE" in cli.run("status", "other.jsonl").out
    assert untrusted.json["in_doubt"] == 0
    assert asked
    assert all(head.startswith(b"CONNECT cbs.cloud.invalid:443 ") for head in asked)
    assert not any(b"TC3-HMAC" in head or b"Authorization" in head for head in asked)
    assert all(b"\r\nHost: cbs.cloud.invalid\r\n" in head for head in front.heads)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
