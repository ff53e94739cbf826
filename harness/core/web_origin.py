"""Whether a browser's request may read or change something here, decided by the headers of its origin.

Host: a page of another site can have its own name resolve to this machine (DNS rebinding); its requests then carry
that name. Origin (RFC 6454) and Sec-Fetch-Site (W3C Fetch Metadata): set by the browser, not by a page's scripts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


def is_own_host(header: str, own: Collection[str] = ()) -> bool:
    """Whether a Host header names this machine: an address, ``localhost``, or one of ``own`` (lower case), with or
    without a port. An address cannot be rebound, because no name is looked up."""
    try:
        parts = urlsplit(f"//{header}")
        host = (parts.hostname or "").rstrip(".")
        _ = parts.port
    except ValueError:
        return False
    if parts.path or parts.query or parts.fragment or parts.username is not None or not host:
        return False
    if host == "localhost" or host.endswith(".localhost") or host in own:
        return True
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def is_same_origin(host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Whether a request comes from a page of this server. host: the Host header. Each of the two headers that is
    there must say so, and one must be there: a request of neither comes from no page of ours."""
    if origin is None and fetch_site is None:
        return False
    if fetch_site is not None and fetch_site != "same-origin":
        return False
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
