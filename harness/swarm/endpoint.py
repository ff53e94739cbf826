"""A URL taken apart, and how it is reached: addresses and TLS.

Schemes: http, https, and http+unix or https+unix for Unix sockets, whose path is the percent-encoded
authority: ``http+unix://%2Frun%2Fapp.sock/events``. A link-local address carries its interface (RFC 6874):
``http://[fe80::1%25eth0]:8000``.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from harness.core.errors import ConfigError
from harness.process.read import read_bounded

LARGEST_CA = 16 << 20  # bytes of a file of certificates
PEM = "a PEM file with certificates"

PORTS = {"http": 80, "https": 443}
ZONED = "expected such as http://[fe80::1%25eth0]:8000"
_SAFE = "/?%:@!$&'()*+,;=-._~[]"


class Address(NamedTuple):
    """One address that connect(2) takes."""

    family: int
    sockaddr: Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a request goes. host: of IPv6 with its zone, ``fe80::1%eth0``. unix: path of a Unix socket, or "".
    target: path and query.

    authorization: from user:password@ in the URL (RFC 7617), or "".
    """

    scheme: str
    host: str
    port: int
    target: str
    unix: str = ""
    authorization: str = ""

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Raises ConfigError, which names the part that is wrong."""
        try:
            parts = urlsplit(url)
            port = parts.port
            if port == 0:
                raise ValueError("port 0 is nobody's")
        except ValueError as error:
            raise ConfigError(f"{url!r}: {error}; expected a URL such as http://127.0.0.1:8000") from None
        scheme, _, kind = parts.scheme.partition("+")
        if scheme not in PORTS or kind not in ("", "unix"):
            raise ConfigError(f"{url!r}: scheme {parts.scheme!r}; expected http, https or http+unix")
        if not parts.netloc or (not kind and not parts.hostname):
            raise ConfigError(f"{url!r} names no host; expected such as http://127.0.0.1:8000")
        unix = unquote(parts.netloc) if kind else ""
        return cls(
            scheme,
            "localhost" if unix else _host(parts.hostname or "", url),
            port or PORTS[scheme],
            _target(parts),
            unix,
            "" if unix else _basic(parts),
        )

    @property
    def authority(self) -> str:
        """The Host header (RFC 9110, 7.2): no default port, IPv6 in brackets, its zone nobody else's business."""
        host = f"[{self.name}]" if ":" in self.name else self.name
        return host if self.unix or self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def name(self) -> str:
        """The host without its zone: what a certificate names (RFC 6874, 4)."""
        return self.host.partition("%")[0] if ":" in self.host else self.host

    @property
    def origin(self) -> tuple[str, str, int, str]:
        """What two URLs share when they are of one origin."""
        return (self.scheme, self.host, self.port, self.unix)

    def at(self, path: str) -> Endpoint:
        """The same origin, another path."""
        return replace(self, target=quote(path, safe=_SAFE) or "/")

    def under(self, path: str) -> Endpoint:
        """A path below this one, as Locust's own clients put it behind ``--host``."""
        return self.at(self.target.partition("?")[0].rstrip("/") + path)

    def join(self, location: str) -> Endpoint:
        """Where a Location header leads (RFC 9110, 10.2.2); it may be relative. Raises ConfigError."""
        base = (
            f"http://localhost{self.target}"
            if self.unix
            else f"{self.scheme}://{self.authority}{self.target}"
        )
        try:
            url = urljoin(base, location)
        except ValueError as error:  # such as an IPv6 address without its end
            raise ConfigError(f"Location {location!r}: {error}; expected a URL") from None
        if self.unix and "://" not in location:
            return self.at(urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl())
        found = Endpoint.parse(url)
        if found.unix != self.unix and found.unix:
            raise ConfigError(f"Location {location!r} leads to a socket of this machine; expected a host")
        if "%" in self.host and found.host == self.name and found.port == self.port:
            found = replace(
                found, host=self.host
            )  # the service does not know by which interface it was reached
        same = found.origin == self.origin
        return replace(found, authorization=found.authorization or (self.authorization if same else ""))


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE)
    return f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path


def _host(host: str, url: str) -> str:
    if ":" in host and "%" in host:
        address, _, zone = host.partition("%")
        zone = unquote(zone.removeprefix("25"))
        if not zone:
            raise ConfigError(f"{url!r}: no interface after %25; {ZONED}")
        return f"{address}%{zone}"
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise ConfigError(f"{url!r}: host {host!r}: {error}") from None


def _basic(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    return basic(unquote(parts.username), unquote(parts.password or ""))


def basic(user: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Route:
    """How an origin is reached: addresses to try in turn, and TLS or None."""

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
        """Look up; blocks the greenlet. Raises ConfigError for a name that leads nowhere."""
        route = self._known.get(endpoint.origin)
        if route is None:
            tls = self._tls() if endpoint.scheme == "https" else None
            route = self._known[endpoint.origin] = Route(_addresses(endpoint), tls, endpoint.name)
        return route

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(insecure=self._insecure, ca=self._ca)
        return self._context


def tls_context(*, insecure: bool, ca: Path | None) -> ssl.SSLContext:
    """Verification is on unless ``insecure``; ``ca``: a PEM file of authorities. Raises ConfigError."""
    # OpenSSL would read a device or a pipe without end.
    data = read_bounded(ca, LARGEST_CA, option=f"--ca {ca}", expected=PEM) if ca else None
    try:
        context = ssl.create_default_context(cadata=None if data is None else data.decode("ascii", "ignore"))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"--ca {ca}: {error}; expected {PEM}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _addresses(endpoint: Endpoint) -> tuple[Address, ...]:
    if endpoint.unix:
        return (Address(socket.AF_UNIX, endpoint.unix),)
    try:
        found = socket.getaddrinfo(_zoned(endpoint), endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a label of more than 63 letters
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"host {endpoint.host!r}: {why}; expected a name or address") from None
    return tuple(dict.fromkeys(Address(int(family), sockaddr) for family, _, _, _, sockaddr in found))


def _zoned(endpoint: Endpoint) -> str:
    """The host as getaddrinfo(3) takes it: a zone by its number, for names go with link-local addresses alone."""
    address, _, zone = endpoint.host.partition("%")
    if ":" not in address:
        return endpoint.host
    if not zone:
        if ipaddress.IPv6Address(address).is_link_local:
            raise ConfigError(f"host {address!r} is link-local, of one interface alone; {ZONED}")
        return address
    try:
        index = int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone)
        socket.if_indextoname(index)
    except (OSError, OverflowError):
        raise ConfigError(
            f"host {endpoint.host!r}: this machine has no interface {zone!r} (ip link); {ZONED}"
        ) from None
    return f"{address}%{index}"
