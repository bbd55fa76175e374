"""Endpoints and hosts: what an --endpoint may be, and which host serves a region.

The cloud counts calls by credential, host and action; the region in the header does not matter.
Finance regions (`-fsi`) answer only at their own hosts (request structure page).
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from batchsnap.errors import UsageError
from batchsnap.settings import ENDPOINT_DEFAULT

_DOMAIN = ".tencentcloudapi.com"
_REGIONAL = "https://cbs.{region}.tencentcloudapi.com"
NAMES = {
    "intl": ENDPOINT_DEFAULT,
    "mainland": "https://cbs.tencentcloudapi.com",
    "internal": "https://cbs.internal.tencentcloudapi.com",  # in a VPC, without internet
    "regional": _REGIONAL,
}
"""Endpoints that people know by a name."""
_PORTS = {"https": 443, "http": 80}
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.])?")


def named(endpoint: str) -> str:
    """The URL of an endpoint given by name or URL, as ledgers keep it and compare it."""
    return NAMES.get(endpoint, endpoint.rstrip("/"))


@lru_cache(maxsize=1024)
def endpoint_url(template: str, region: str) -> str:
    """The endpoint of a region. Finance regions answer at hosts of their own alone, whatever the
    cloud's general host is; an endpoint that is not the cloud's serves them as all others.

    Raises:
        UsageError: the region is to be part of the host's name, and is no region.
    """
    if region.endswith("-fsi") and host_of(template).endswith(_DOMAIN):
        template = _REGIONAL
    if "{region}" in template and not is_region(region):
        raise UsageError(f"{region!r} is no region, and {template} needs one")
    return template.replace("{region}", region)


def sts_url(endpoint: str, region: str) -> str:
    """Where keys of roles are asked for: at the same site, of which each host has a twin for STS.
    An endpoint that is not the cloud's answers for both."""
    url = endpoint_url(endpoint, region)
    return url.replace("://cbs.", "://sts.", 1) if host_of(url).endswith(_DOMAIN) else url


def is_region(text: str) -> bool:
    """Whether a text has the shape of a region's id. New ones come, so no list is kept."""
    return _REGION.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def host_of(url: str) -> str:
    """The Host header exactly as sent and signed: with the port only where it is unusual."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    if parts.port is None or parts.port == _PORTS.get(parts.scheme):
        return shown
    return f"{shown}:{parts.port}"


def check_endpoint(template: str) -> None:
    """Raise UsageError unless requests may be signed for this endpoint.

    A name with plain http is judged when it connects; an address is judged here.
    """
    # First of all, so that no other message repeats a password.
    if "@" in template:
        raise UsageError("--endpoint holds a user name or password; keys come from a profile")
    try:
        parts = urlsplit(template.replace("{region}", "ap-region"))
        port_is_right = parts.port != 0
    except ValueError as error:
        raise UsageError(f"--endpoint {template}: {error}") from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS or not host or not port_is_right:
        raise UsageError(
            f"--endpoint {template}: must be https://HOST[:PORT], or one of {', '.join(NAMES)}"
        )
    if parts.path not in {"", "/"} or "?" in template or "#" in template:
        raise UsageError(f"--endpoint {template}: must have no path or query")
    if not template.startswith(parts.scheme):
        raise UsageError(f"--endpoint {template}: write {parts.scheme}:// in lower case")
    if not _is_address(host) and not _NAME.fullmatch(host):
        raise UsageError(
            f"--endpoint {template}: the host is no name or address; "
            "the only placeholder is {region}"
        )
    if parts.scheme == "http" and _is_address(host) and not is_loopback(host):
        raise UsageError(
            f"--endpoint {template}: plain http is for loopback addresses only; use https"
        )


def is_loopback(address: str) -> bool:
    """Whether an IP address belongs to this machine alone; False for what is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def is_local(endpoint: str) -> bool:
    """Whether an endpoint is of this machine: a simulator's, or a tunnel's to the real cloud."""
    return is_loopback(urlsplit(endpoint).hostname or "")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
