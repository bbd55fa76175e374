"""A proxy that can't be used is refused at the start, and nothing of it is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import Cli, write_fleet


@pytest.mark.parametrize("sign", list("#/?[@"))
def test_a_password_that_is_not_quoted(cli: Cli, tmp_path: Path, sign: str) -> None:
    write_fleet(tmp_path, 2)
    proxy = f"http://someone:Hunter2{sign}rest@proxy.invalid:3128"
    done = cli.run("run", "fleet.csv", HTTPS_PROXY=proxy)
    assert done.code == 2
    assert "HTTPS_PROXY" in done.err
    assert "Traceback" not in done.err
    assert not any(piece in done.err for piece in ("Hunter2", "rest@", "someone", "proxy.invalid"))
    assert not (tmp_path / "fleet.csv.ledger.jsonl").exists()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS4"])
def test_a_socks_proxy_in_words(cli: Cli, tmp_path: Path, scheme: str) -> None:
    write_fleet(tmp_path, 2)
    done = cli.run("run", "fleet.csv", ALL_PROXY=f"{scheme}://someone:Hunter2@proxy.invalid:1080")
    assert done.code == 2
    assert "ALL_PROXY" in done.err
    assert "SOCKS" in done.err
    assert "Hunter2" not in done.err
    assert not (tmp_path / "fleet.csv.ledger.jsonl").exists()


def test_discover_refuses_it_too(cli: Cli) -> None:
    done = cli.run("discover", "--region", "ap-guangzhou", HTTPS_PROXY="http://a:Hunter2#x@b:1")
    assert done.code == 2
    assert "Hunter2" not in done.err
