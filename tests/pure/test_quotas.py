"""Endpoints: which are allowed, what Host they have, and where a region's calls go."""

from __future__ import annotations

import pytest

from batchsnap.cloud.endpoints import (
    check_endpoint,
    endpoint_url,
    host_of,
    is_loopback,
    named,
)
from batchsnap.errors import UsageError
from batchsnap.model import Quota
from batchsnap.settings import ENDPOINT_DEFAULT

MAINLAND = "https://cbs.tencentcloudapi.com"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", ""),
        ("intl", ENDPOINT_DEFAULT),
        ("mainland", MAINLAND),
        ("internal", "https://cbs.internal.tencentcloudapi.com"),
        ("regional", "https://cbs.{region}.tencentcloudapi.com"),
        (MAINLAND + "/", MAINLAND),  # the same cloud, and a ledger compares the text
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("Mainland", "Mainland"),
    ],
)
def test_an_endpoint_by_name(given: str, url: str) -> None:
    assert named(given) == url


@pytest.mark.parametrize(
    "endpoint",
    [
        ENDPOINT_DEFAULT,
        ENDPOINT_DEFAULT + "/",
        "https://cbs.{region}.tencentcloudapi.com",
        "https://cbs.tencentcloudapi.com:8443",
        "https://10.0.0.1",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:80",
        "http://[::ffff:127.0.0.1]",
        "http://localhost:1",
        "http://simulator",
    ],
)
def test_allowed(endpoint: str) -> None:
    check_endpoint(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("", "https://HOST"),
        ("Mainland", "intl, mainland, internal, regional"),
        ("cbs.tencentcloudapi.com", "https://HOST"),
        ("ftp://cbs.tencentcloudapi.com", "https://HOST"),
        ("HTTP://127.0.0.1", "lower case"),
        ("https://", "https://HOST"),
        ("https://:443", "https://HOST"),
        ("https://host:0", "https://HOST"),
        ("https://host:99999", "range"),
        ("https://host:x", "--endpoint"),
        ("https://[::1", "--endpoint"),
        ("https://host/path", "path"),
        ("https://host?query", "path or query"),
        ("https://host?", "path or query"),
        ("https://host#fragment", "path or query"),
        ("https://user@host", "user name or password"),
        ("https://user:hush@host", "user name or password"),
        ("https://user:hush@host:99999", "user name or password"),
        ("https://user:hush@ho{st", "user name or password"),
        ("https://a b", "no name or address"),
        ("https://{zone}.host", "{region}"),
        ("http://10.0.0.1", "loopback"),
        ("http://0.0.0.0", "loopback"),
        ("http://[2001:db8::1]", "loopback"),
        ("http://169.254.0.23", "loopback"),
    ],
)
def test_refused(endpoint: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_endpoint(endpoint)
    assert says in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("template", "region", "url"),
    [
        (ENDPOINT_DEFAULT, "ap-seoul", ENDPOINT_DEFAULT),
        (ENDPOINT_DEFAULT, "", ENDPOINT_DEFAULT),
        (ENDPOINT_DEFAULT, "ap-shanghai-fsi", "https://cbs.ap-shanghai-fsi.tencentcloudapi.com"),
        (MAINLAND, "ap-seoul", MAINLAND),
        (MAINLAND, "ap-shanghai-fsi", "https://cbs.ap-shanghai-fsi.tencentcloudapi.com"),
        (
            "https://cbs.internal.tencentcloudapi.com",
            "ap-shenzhen-fsi",
            "https://cbs.ap-shenzhen-fsi.tencentcloudapi.com",
        ),
        ("https://own.example", "ap-shanghai-fsi", "https://own.example"),
        ("http://127.0.0.1:8080", "ap-shanghai-fsi", "http://127.0.0.1:8080"),
        ("https://cbs.{region}.x.com:99", "eu-frankfurt", "https://cbs.eu-frankfurt.x.com:99"),
    ],
)
def test_endpoint_url(template: str, region: str, url: str) -> None:
    assert endpoint_url(template, region) == url


@pytest.mark.parametrize("region", ["", "evil.example/", "a@b", "AP", "-x", "a\n"])
def test_a_region_that_is_no_part_of_a_host(region: str) -> None:
    with pytest.raises(UsageError):
        endpoint_url("https://cbs.{region}.tencentcloudapi.com", region)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://CBS.Intl.tencentcloudapi.com", "cbs.intl.tencentcloudapi.com"),
        ("https://host:443/", "host"),
        ("https://host:80", "host:80"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://[::1]", "[::1]"),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host


def test_a_port_makes_a_quota_of_its_own() -> None:
    hosts = [host_of(url) for url in ("https://host:8443", "https://host", "https://host:443")]
    quotas = [Quota("profile:x", host, "CreateSnapshot") for host in hosts]
    assert quotas[0] == Quota("profile:x", "host:8443", "CreateSnapshot")
    assert quotas[1] == quotas[2] != quotas[0]


@pytest.mark.parametrize(
    ("address", "is_"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_is_loopback(address: str, is_: bool) -> None:
    assert is_loopback(address) is is_
