"""Endpoints and hosts: what an --endpoint may be, and which host serves a region.

The cloud counts calls by credential, host and action; the region in the header does not matter.
Finance regions (`-fsi`) answer only at their own hosts (request structure page).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from batchsnap.errors import UsageError
from batchsnap.settings import ENDPOINT_DEFAULT

_FINANCE = "https://cbs.{region}.tencentcloudapi.com"
_PORTS = {"https": 443, "http": 80}


@lru_cache(maxsize=1024)
def endpoint_url(template: str, region: str) -> str:
    """The endpoint of a region."""
    if template == ENDPOINT_DEFAULT and region.endswith("-fsi"):
        template = _FINANCE
    return template.replace("{region}", region)


@lru_cache(maxsize=1024)
def host_of(url: str) -> str:
    """The Host header exactly as sent and signed: with the port only where it is unusual."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    if parts.port is None or parts.port == _PORTS[parts.scheme]:
        return shown
    return f"{shown}:{parts.port}"


def check_endpoint(template: str) -> None:
    """Raise UsageError unless requests may be signed for this endpoint.

    A name with plain http is judged when it connects; an address is judged here.
    """
    try:
        parts = urlsplit(template.replace("{region}", "ap-region"))
        port_is_right = parts.port != 0
    except ValueError as error:
        raise UsageError(f"--endpoint {template}: {error}") from None
    if "@" in parts.netloc:
        raise UsageError("--endpoint holds a user name or password; keys come from a profile")
    if parts.scheme not in _PORTS or not parts.hostname or not port_is_right:
        raise UsageError(f"--endpoint {template}: must be https://HOST[:PORT]")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise UsageError(f"--endpoint {template}: must have no path or query")
    if parts.scheme == "http" and not _may_be_loopback(parts.hostname):
        raise UsageError(
            f"--endpoint {template}: plain http is for loopback addresses only; use https"
        )


def _may_be_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return True
