"""Cookies of one user: what a service sets comes back to it (RFC 6265).

Kept simple on purpose: a cookie goes to the host that set it and to no other, whatever its Domain says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from harness.http.endpoint import Endpoint

MAX_COOKIES = 100  # per user: a service that sets more is not remembered without end


@dataclass(frozen=True, slots=True)
class Cookie:
    """expires: seconds since 1970, None for the session."""

    name: str
    value: str
    host: str
    path: str
    secure: bool
    expires: float | None


class Cookies:
    """A jar. clock: seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str, str], Cookie] = {}

    def take(self, lines: Iterable[str], endpoint: Endpoint) -> None:
        """Set-Cookie values of a response from the endpoint; what is past its time is forgotten."""
        for line in lines:
            cookie = _parse(line, endpoint, self._clock())
            if cookie is None:
                continue
            key = (cookie.host, cookie.path, cookie.name)
            self._kept.pop(key, None)
            if (cookie.expires is None or cookie.expires > self._clock()) and len(self._kept) < MAX_COOKIES:
                self._kept[key] = cookie

    def set(self, name: str, value: str, endpoint: Endpoint) -> None:
        """A cookie of one's own, for every path."""
        self._kept[endpoint.host, "/", name] = Cookie(name, value, endpoint.host, "/", False, None)

    def header(self, endpoint: Endpoint) -> str:
        """The Cookie header for a request, longest paths first (5.4); "" when there is none."""
        now, path = self._clock(), endpoint.target.partition("?")[0]
        found = [
            cookie
            for cookie in self._kept.values()
            if cookie.host == endpoint.host
            and (not cookie.secure or endpoint.scheme == "https")
            and (cookie.expires is None or cookie.expires > now)
            and _within(path, cookie.path)
        ]
        found.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in found)


def _within(path: str, prefix: str) -> bool:
    return path == prefix or (path.startswith(prefix) and (prefix.endswith("/") or path[len(prefix)] == "/"))


def _parse(line: str, endpoint: Endpoint, now: float) -> Cookie | None:
    pair, *attributes = line.split(";")
    name, equals, value = pair.partition("=")
    name = name.strip()
    if not equals or not name:
        return None
    path = endpoint.target.partition("?")[0].rpartition("/")[0] or "/"
    secure, expires, lasting = False, None, None
    for attribute in attributes:
        key, _, text = attribute.partition("=")
        key, text = key.strip().lower(), text.strip()
        if key == "path" and text.startswith("/"):
            path = text
        elif key == "secure":
            secure = True
        elif key == "max-age" and text.lstrip("-").isdigit():
            lasting = now + min(float(text), 1e10)
        elif key == "expires":
            try:
                expires = parsedate_to_datetime(text).timestamp()
            except (ValueError, OverflowError):
                pass
    return Cookie(
        name, value.strip(), endpoint.host, path, secure, lasting if lasting is not None else expires
    )
