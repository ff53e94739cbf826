"""Routes to endpoints: addresses and TLS. Looking up a name is the only network access here."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.errors import ConfigError
from harness.http.endpoint import ZONED, Endpoint
from harness.http.tls import tls_context


class Address(NamedTuple):
    """One address that connect(2) takes."""

    family: int
    sockaddr: Any


@dataclass(frozen=True, slots=True)
class Route:
    """The route to an origin: addresses to try in turn, and TLS or None."""

    addresses: tuple[Address, ...]
    tls: ssl.SSLContext | None = None
    name: str = ""  # the name that the certificate must carry

    def from_source(self, source: str | None) -> tuple[Address, ...]:
        """The addresses that can be reached from a source address: those of its family."""
        if source is None:
            return self.addresses
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        return tuple(a for a in self.addresses if a.family == family)


class Router:
    """Routes by origin; looks up each name once. insecure: certificates are not verified."""

    def __init__(self, *, insecure: bool = False, ca: Path | None = None) -> None:
        self._insecure = insecure
        self._ca = ca
        self._context: ssl.SSLContext | None = None
        self._known: dict[tuple[str, str, int, str], Route] = {}

    def known(self, endpoint: Endpoint) -> Route | None:
        """A route looked up before; never blocks."""
        return self._known.get(endpoint.origin)

    def route(self, endpoint: Endpoint) -> Route:
        """Look up; blocks the greenlet. Raises ConfigError for a name without an address."""
        route = self._known.get(endpoint.origin)
        if route is None:
            tls = self._tls() if endpoint.scheme == "https" else None
            # Kept for the whole run: a lookup per stream would measure the resolver.
            route = self._known[endpoint.origin] = Route(_addresses(endpoint), tls, endpoint.name)
        return route

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(insecure=self._insecure, ca=self._ca)
        return self._context


def _addresses(endpoint: Endpoint) -> tuple[Address, ...]:
    if endpoint.unix:
        return (Address(socket.AF_UNIX, endpoint.unix),)
    try:
        found = socket.getaddrinfo(_host_with_zone_number(endpoint), endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a label of more than 63 letters
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"host {endpoint.host!r}: {why}; expected a name or address") from None
    # A hosts file may name an address twice; each is tried once, in the order of getaddrinfo(3) (RFC 6724).
    return tuple(dict.fromkeys(Address(int(family), sockaddr) for family, _, _, _, sockaddr in found))


def _host_with_zone_number(endpoint: Endpoint) -> str:
    """The host for getaddrinfo(3), with the zone as a number: it accepts names of interfaces only for link-local
    addresses."""
    address, _, zone = endpoint.host.partition("%")
    if ":" not in address:
        return endpoint.host
    if not zone:
        if ipaddress.IPv6Address(address).is_link_local:
            raise ConfigError(f"host {address!r} is link-local, of one interface alone; {ZONED}")
        return address
    try:
        index = int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone)
        # getaddrinfo(3) also accepts the number of an interface that does not exist.
        socket.if_indextoname(index)
    except (OSError, OverflowError):
        raise ConfigError(
            f"host {endpoint.host!r}: this machine has no interface {zone!r} (ip link); {ZONED}"
        ) from None
    return f"{address}%{index}"
