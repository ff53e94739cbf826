"""Cookies of one user: each is sent back to the host that set it (RFC 6265, and 6265bis for name prefixes).

Deliberately simpler than a browser: a cookie is sent to no other host, whatever its Domain attribute says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from harness.http.endpoint import Endpoint

MAX_COOKIES = 100  # per user, to bound memory
MAX_COOKIE = 4096  # bytes of name and value (RFC 6265bis, 5.6)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # a request header cannot carry them


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie. host: the only one to which it is sent. path: prefix of the paths to which it is sent. secure: only
    over https. expires: seconds since 1970, None for the session."""

    name: str
    value: str
    host: str
    path: str
    secure: bool
    expires: float | None


class Cookies:
    """The cookies of one user. clock: returns the seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str, str], Cookie] = {}

    def store(self, lines: Iterable[str], endpoint: Endpoint) -> None:
        """Store the Set-Cookie values of a response from the endpoint; an expired cookie removes the stored one."""
        for line in lines:
            cookie = _parse(line, endpoint, self._clock())
            if cookie is None:
                continue
            if endpoint.scheme != "https" and any(
                kept.secure and kept.name == cookie.name and kept.host == cookie.host
                for kept in self._kept.values()
            ):
                continue  # plain HTTP must not replace a secure cookie (RFC 6265bis, 5.7)
            key = (cookie.host, cookie.path, cookie.name)
            # A cookie that has expired already is how a service deletes one (RFC 6265, 5.3).
            self._kept.pop(key, None)
            # A full jar takes no new cookie; the one of the same name was removed above, so it can always be replaced.
            if (cookie.expires is None or cookie.expires > self._clock()) and len(self._kept) < MAX_COOKIES:
                self._kept[key] = cookie

    def set(self, name: str, value: str, endpoint: Endpoint) -> None:
        """Set a cookie for every path of the host."""
        host = _host(endpoint)
        self._kept[host, "/", name] = Cookie(name, value, host, "/", False, None)

    def header(self, endpoint: Endpoint) -> str:
        """The Cookie header for a request, longest paths first (5.4); "" when there is none."""
        now, path = self._clock(), endpoint.target.partition("?")[0]
        found = [
            cookie
            for cookie in self._kept.values()
            if cookie.host == _host(endpoint)
            and (not cookie.secure or endpoint.scheme == "https")
            and (cookie.expires is None or cookie.expires > now)
            and _within(path, cookie.path)
        ]
        # The sort is stable, so cookies with paths of the same length keep the order in which they were set.
        found.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in found)


def _host(endpoint: Endpoint) -> str:
    """The host that cookies belong to; each Unix socket is a host of its own."""
    return endpoint.unix or endpoint.host


def _within(path: str, prefix: str) -> bool:
    return path == prefix or (path.startswith(prefix) and (prefix.endswith("/") or path[len(prefix)] == "/"))


def _parse(line: str, endpoint: Endpoint, now: float) -> Cookie | None:
    pair, *attributes = line.split(";")
    name, equals, value = pair.partition("=")
    name = name.strip()
    if not equals or not name or _CONTROL.search(line) or len(name) + len(value) > MAX_COOKIE:
        return None
    # Without a Path attribute a cookie goes to the folder of the request's path (RFC 6265, 5.1.4).
    path = endpoint.target.partition("?")[0].rpartition("/")[0] or "/"
    secure, expires, max_age_ends, domain = False, None, None, ""
    for attribute in attributes:
        key, _, text = attribute.partition("=")
        key, text = key.strip().lower(), text.strip()
        if key == "path" and text.startswith("/"):
            path = text
        elif key == "secure":
            secure = True
        elif key == "domain":
            # A leading dot has no meaning any more (RFC 6265, 5.2.3).
            domain = text.lower().lstrip(".")
        elif key == "max-age" and text.lstrip("-").isdigit():
            # Max-Age has precedence over Expires (RFC 6265, 5.3), whatever their order. The limit of 300 years keeps a
            # number of any length finite.
            max_age_ends = now + min(float(text), 1e10)
        elif key == "expires":
            try:
                expires = parsedate_to_datetime(text).timestamp()
            except (ValueError, OverflowError):
                # A date that cannot be read is ignored: the cookie lasts for the session (RFC 6265, 5.2.1).
                pass
    if domain and endpoint.host != domain and not endpoint.host.endswith(f".{domain}"):
        return None  # one host may not set cookies for another
    if secure and endpoint.scheme != "https":
        return None
    # Names with these prefixes guarantee attributes; a cookie without them is refused (RFC 6265bis, 4.1.3).
    prefix = name.lower()
    if prefix.startswith(("__secure-", "__host-")) and not secure:
        return None
    if prefix.startswith("__host-") and (domain or path != "/"):
        return None
    ends = max_age_ends if max_age_ends is not None else expires
    return Cookie(name, value.strip(), _host(endpoint), path, secure, ends)
