"""The bytes of a request: HTTP/1.1, RFC 9112."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.core.errors import ConfigError
from harness.http.endpoint import Endpoint

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class Request:
    """One request that can be sent again and again. streaming: whether it asks for an event stream. expect: the
    statuses that count as an answer; None: 200 for a stream, else any below 400.

    headers replace the defaults of the same name. Raises ConfigError for a method, header or value
    that HTTP does not allow.
    """

    endpoint: Endpoint
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    streaming: bool = True
    expect: frozenset[int] | None = None
    _head: bytes = field(init=False, repr=False)
    _whole: bytes = field(init=False, repr=False)  # the bytes without Last-Event-ID, encoded once

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.method):
            raise ConfigError(f"method {self.method!r}; expected a token such as GET")
        if not isinstance(self.body, bytes | None):
            raise ConfigError(f"body {self.body!r:.80}; expected bytes")
        lines = [f"{self.method} {self.endpoint.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._fields().values()]
        # The dataclass is frozen, so its derived fields are set past its own __setattr__.
        object.__setattr__(self, "_head", "\r\n".join(lines).encode("latin-1"))
        object.__setattr__(self, "_whole", self._head + b"\r\n\r\n" + (self.body or b""))

    def _fields(self) -> dict[str, tuple[str, str]]:
        found = {"host": ("Host", self.endpoint.authority)}
        if self.streaming:
            found["accept"] = ("Accept", "text/event-stream")
            found["cache-control"] = ("Cache-Control", "no-cache")
        else:
            found["accept"] = ("Accept", "*/*")
            # One request per connection; with ``keep_alive`` a header of the caller replaces this.
            found["connection"] = ("Connection", "close")
        if self.endpoint.authorization:
            found["authorization"] = ("Authorization", self.endpoint.authorization)
        if self.body is not None:
            found["content-length"] = ("Content-Length", str(len(self.body)))
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name):
                raise ConfigError(f"header {name!r}; expected a name of letters, digits and dashes")
            if not isinstance(value, str):
                raise ConfigError(f"header {name}: {value!r}; expected a string")
            if not _VALUE.fullmatch(value) or any(ord(char) > 255 for char in value):
                raise ConfigError(f"header {name}: {value!r} has characters that a header cannot carry")
            # The caller's spelling of a name is sent: some services, against RFC 9110, distinguish upper and lower
            # case.
            found[name.lower()] = (name, value)
        return found

    def encode(self, last_event_id: str = "") -> bytes:
        """The whole request. Last-Event-ID only when not empty, as UTF-8 (HTML Living Standard, 9.2.4)."""
        if not last_event_id:
            return self._whole
        return self._head + b"\r\nLast-Event-ID: " + last_event_id.encode() + b"\r\n\r\n" + (self.body or b"")
