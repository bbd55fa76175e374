"""The environment's proxy for an endpoint (HTTPS_PROXY, ALL_PROXY, NO_PROXY).

It is looked up here and not by aiohttp's `trust_env`, which lets a ~/.netrc fail each request that
has an Authorization header of its own. The URL is read strictly: a password with a `#` or `/` that
is not quoted would be cut there, and its pieces taken for a host, looked up and told.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from batchsnap.errors import UsageError


class Proxy(NamedTuple):
    """The way to a host; no `url` is the straight one."""

    url: str | None
    headers: Mapping[str, str] | None  # what the proxy alone is told


STRAIGHT = Proxy(None, None)
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:(?P<user>[^\s@/?#\[\]:]*)(?::(?P<password>[^\s@/?#\[\]]*))?@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?P<port>:[0-9]{1,5})?/?"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def proxy_of(url: str) -> Proxy:
    """The way to an endpoint. Only https goes through a proxy: plain http stays on this machine.

    Raises:
        UsageError: a proxy is set that can't be used. Its text repeats nothing of it.
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        return STRAIGHT
    proxies = getproxies()
    name = "HTTPS_PROXY" if proxies.get("https") else "ALL_PROXY"
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return STRAIGHT
    scheme = _SCHEME.match(proxy)
    if scheme and scheme[1].lower().startswith("socks"):
        raise UsageError(
            f"{name} names a SOCKS proxy, which batchsnap does not speak: give it one with "
            "http://, or put the endpoint's host into NO_PROXY"
        )
    way = _URL.fullmatch(proxy if scheme else f"http://{proxy}")
    if way is None or int((way["port"] or ":1")[1:]) not in range(1, 1 << 16):
        raise UsageError(
            f"{name} can't be read as http://[USER:PASSWORD@]HOST:PORT. In user and password write "
            "# / ? [ ] @ : % as %23 %2F %3F %5B %5D %40 %3A %25"
        )
    headers = None
    if way["user"] is not None:
        user = f"{unquote(way['user'])}:{unquote(way['password'] or '')}".encode()
        headers = {"Proxy-Authorization": f"Basic {b64encode(user).decode()}"}
    return Proxy(f"{way['scheme']}://{way['host']}{way['port'] or ''}", headers)
