"""A URL, split into what a request needs. Nothing here touches the network.

Schemes: http, https, and http+unix or https+unix for Unix sockets, whose path is the percent-encoded
authority: ``http+unix://%2Frun%2Fapp.sock/events``. A link-local address carries its interface (RFC 6874):
``http://[fe80::1%25eth0]:8000``.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from harness.core.errors import ConfigError

PORTS = {"http": 80, "https": 443}
ZONED = "expected a URL such as http://[fe80::1%25eth0]:8000"
MAX_UNIX = 107  # bytes of a Unix socket's path (unix(7))
MAX_SHOWN = 200  # characters of a URL in an error
MAX_NAME = 254  # characters of a host name, its final dot included (RFC 1035, 2.3.4)
_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
_BRACKETED = re.compile(r"\[[^\[\]]+\](:\d*)?")
_SAFE = "/?%:@!$&'()*+,;=-._~[]"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The destination of a request. host: of IPv6 with its zone, ``fe80::1%eth0``. unix: path of a Unix socket, or "".
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
        shown = _shown(url)
        try:
            parts = urlsplit(url)
            # The "host" of a Unix socket's URL is a percent-encoded path, in which a colon is not a port.
            port = None if parts.scheme.endswith("+unix") else parts.port
            if port == 0:
                raise ValueError("port 0 cannot be connected to")
        except ValueError as error:
            raise ConfigError(f"{shown!r}: {error}; expected a URL such as http://127.0.0.1:8000") from None
        scheme, _, kind = parts.scheme.partition("+")
        if scheme not in PORTS or kind not in ("", "unix"):
            other = "; WebSockets are not supported" if parts.scheme in ("ws", "wss") else ""
            raise ConfigError(
                f"scheme {parts.scheme!r} in {shown!r}; expected http, https, http+unix or https+unix: "
                f"server-sent events, or plain requests in mode request{other}"
            )
        if not parts.netloc or (not kind and not parts.hostname):
            raise ConfigError(f"{shown!r} names no host; expected a URL such as http://127.0.0.1:8000")
        unix = unquote(parts.netloc) if kind else ""
        if len(unix.encode()) > MAX_UNIX:
            raise ConfigError(
                f"{shown!r}: a socket path of {len(unix.encode())} bytes; expected at most {MAX_UNIX}"
            )
        return cls(
            scheme,
            "localhost" if unix else _host(parts, shown),
            port or PORTS[scheme],
            _target(parts),
            unix,
            "" if unix else _basic(parts),
        )

    @property
    def authority(self) -> str:
        """The Host header (RFC 9110, 7.2): no default port, IPv6 in brackets, without its zone."""
        host = f"[{self.name}]" if ":" in self.name else self.name
        return host if self.unix or self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def name(self) -> str:
        """The host without its zone: what a certificate names (RFC 6874, 4)."""
        return self.host.partition("%")[0] if ":" in self.host else self.host

    @property
    def origin(self) -> tuple[str, str, int, str]:
        """The parts that URLs of the same origin share."""
        return (self.scheme, self.host, self.port, self.unix)

    def at(self, path: str) -> Endpoint:
        """The same origin, another path."""
        return replace(self, target=quote(path, safe=_SAFE) or "/")

    def under(self, path: str) -> Endpoint:
        """A path below this one, as Locust's own clients append it to ``--host``."""
        return self.at(self.target.partition("?")[0].rstrip("/") + path)

    @property
    def url(self) -> str:
        """The URL again, without user info: safe to show."""
        if self.unix:
            return f"{self.scheme}+unix://{quote(self.unix, safe='')}{self.target}"
        host = self.host.replace("%", "%25") if ":" in self.host else self.host
        authority = self.authority.replace(self.name, host, 1)
        return f"{self.scheme}://{authority}{self.target}"

    @property
    def place(self) -> str:
        """The place at which the service must listen, in words: ``port 8000``."""
        return f"the Unix socket {self.unix}" if self.unix else f"port {self.port}"

    def join(self, location: str) -> Endpoint:
        """The endpoint that a Location header names (RFC 9110, 10.2.2); it may be relative. Raises ConfigError.

        The Location's user info is dropped: the service wrote it, not the user. The endpoint's own stays
        within its origin.
        """
        try:
            # urljoin knows the rules of relative references for http and https, but not for http+unix.
            url = urljoin(f"{self.scheme}://{self.authority}{self.target}", location)
        except ValueError as error:  # such as an IPv6 address without its closing bracket
            raise ConfigError(f"{_shown(location)!r}: {error}; expected a URL") from None
        found = Endpoint.parse(url)
        # A service must not be able to make the harness open Unix sockets of this machine.
        if found.unix:
            raise ConfigError(f"{_shown(location)!r}: a Unix socket of this machine; expected a host")
        if found.authority == self.authority and found.scheme == self.scheme:
            # The service knows neither its Unix socket nor the interface through which the harness reaches it.
            return replace(self, target=found.target)
        # Another port of the same link-local address: it is reached through the same interface.
        if "%" in self.host and found.host == self.name:
            found = replace(found, host=self.host)
        return replace(found, authorization="")


def _shown(url: str) -> str:
    """A URL for an error, without its user info, which may be a password, and not longer than MAX_SHOWN."""
    return re.sub(r"//[^/?#]*@", "//***@", url)[:MAX_SHOWN]


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE)
    return f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path


def _host(parts: SplitResult, shown: str) -> str:
    """The host: an IPv6 address with its zone, or a name or IPv4 address in ASCII."""
    host, written = parts.hostname or "", parts.netloc.rpartition("@")[2]
    expected = "expected a host such as 127.0.0.1, example.com or [::1]"
    if "[" in written or "]" in written:
        address, percent, zone = host.partition("%")
        # RFC 6874 encodes the percent sign of a zone as %25; people often type it unencoded, so both are accepted.
        zone = unquote(zone.removeprefix("25"))
        if percent and not zone:
            raise ConfigError(f"{shown!r}: no interface after %25; {ZONED}")
        try:
            if not _BRACKETED.fullmatch(written):
                raise ValueError
            ipaddress.IPv6Address(address)
        except ValueError:
            raise ConfigError(
                f"{shown!r}: host {written[:100]!r} is not an IPv6 address; {expected}"
            ) from None
        return f"{address}%{zone}" if zone else address
    try:
        # HTTP and certificates carry a name in ASCII, so an international one is sent in its encoded form (RFC 5891).
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise ConfigError(f"{shown!r}: host {host[:100]!r}: {error}") from None
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise ConfigError(f"{shown!r}: host {name[:100]!r} is not a name that DNS allows; {expected}")
    return name


def written_target(url: str) -> str:
    """Path and query of a valid URL as they were written, ``/`` at least."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _basic(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    return basic(unquote(parts.username), unquote(parts.password or ""))


def basic(user: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
