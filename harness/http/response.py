"""Parses one HTTP response (RFC 9112) with httptools: the head here, the body by a handler.

Informational responses (1xx) before the final one are skipped with all their headers (RFC 9110, 15.2).
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote_from_bytes

import httptools

from harness.http.causes import MIME

HEAD_LIMIT = 64 * 1024  # bytes, because httptools buffers a header until it is complete
SWITCHING = 101  # final, although it is informational: what follows is another protocol
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
PRINTABLE = bytes(range(0x21, 0x7F))
MAX_RETRY_AFTER = 64  # characters
MAX_ASKED = 80  # characters of what a response that refuses a request asks for instead
MALFORMED = (httptools.HttpParserError, httptools.HttpParserUpgrade)
"""What ``feed_data`` raises for bytes that are not an HTTP response."""


class ResponseHandler(Protocol):
    """Receives the parts of a response, within ``ResponseParser.http.feed_data``."""

    def informational_received(self) -> None:
        """The parser has skipped an informational response."""

    def head_complete(self) -> None:
        """The parser has the final status and its headers."""

    def body_received(self, body: bytes) -> None:
        """A piece of the body, without the framing of its chunks."""

    def response_complete(self) -> None:
        """The response is complete."""


class ResponseParser:
    """The head of one response. status: 0 until the head is complete. framed: the response says where its body
    ends; otherwise it ends with the connection (RFC 9112, 6.3).

    http: its ``feed_data`` parses what arrived, and calls the handler; raises MALFORMED. location: percent-encoded
    where it is not printable ASCII. challenge, allow: the login (WWW-Authenticate, RFC 9110, 11.6.1) and the methods
    (10.2.1) that a response asks for.
    """

    __slots__ = (
        "_handler", "allow", "challenge", "content_encoding", "content_type", "framed", "http", "location", "on_body",
        "retry_after", "set_cookie", "status",
    )  # fmt: skip

    def __init__(self, handler: ResponseHandler) -> None:
        self._handler = handler
        self.status = 0
        self._forget()
        # httptools calls the handler directly, and is fed directly, which saves two Python calls per event.
        self.on_body = handler.body_received  # before the parser is made, which looks the method up
        self.http: Any = httptools.HttpResponseParser(self)

    def _forget(self) -> None:
        self.content_type = self.content_encoding = b""
        self.retry_after = self.location = self.challenge = self.allow = ""
        self.set_cookie: tuple[str, ...] = ()
        self.framed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools: one header, or a trailer."""
        # A trailer comes after the body (RFC 9110, 6.5), and must not change what the head said.
        if self.status:
            return
        name = name.lower()
        if name == b"content-type":
            # All streams share this one string, instead of a copy per open stream.
            self.content_type = MIME if value == MIME else value
        elif name == b"content-encoding":
            self.content_encoding = value
        elif name in FRAMING:
            self.framed = True
        elif name == b"retry-after":
            self.retry_after = quote_from_bytes(value, safe=PRINTABLE + b" ")[:MAX_RETRY_AFTER]
        elif name == b"www-authenticate":
            # The first of several.
            self.challenge = self.challenge or quote_from_bytes(value, safe=PRINTABLE + b" ")[:MAX_ASKED]
        elif name == b"allow":
            self.allow = quote_from_bytes(value, safe=PRINTABLE + b" ")[:MAX_ASKED]
        elif name == b"location":
            # Browsers use the raw bytes too.
            self.location = quote_from_bytes(value, safe=PRINTABLE)
        elif name == b"set-cookie":
            self.set_cookie += (value.decode("latin-1"),)

    def on_headers_complete(self) -> None:
        """Called by httptools: status and headers are known."""
        status = self.http.get_status_code()
        if status < 200 and status != SWITCHING:
            self._forget()
            self._handler.informational_received()
            return
        self.status = status
        self._handler.head_complete()

    def on_message_complete(self) -> None:
        """Called by httptools: the response, or an informational response, is complete."""
        if self.status:
            self._handler.response_complete()

    def should_keep_alive(self) -> bool:
        """Whether the connection may carry another request; known within ``response_complete``."""
        return bool(self.http.should_keep_alive())

    def close(self) -> None:
        """Break the reference cycles with the handler and with httptools, so that all are freed at once."""
        self._handler = self.http = self.on_body = None  # type: ignore[assignment]
