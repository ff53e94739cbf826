"""A blocking client for one response at a time: the preflight request and the readiness check.

One timeout covers everything: connecting, TLS, redirects and the response. A timeout of each recv(2) would
never end a head that arrives byte by byte.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator

from harness.core.errors import ConfigError
from harness.http import causes
from harness.http.endpoint import Endpoint
from harness.http.redirect import REDIRECTS, redirected
from harness.http.request import Request
from harness.http.response import HEAD_LIMIT, MALFORMED, ResponseParser
from harness.http.route import Route, Router

READ = 16 * 1024  # bytes of one recv(2)
CONNECT_TIMEOUT = 1.0  # seconds of each attempt to see whether something accepts at an address


class RequestFailed(Exception):
    """No response. cause: one of ``harness.http.causes``. endpoint: the one that failed, after redirects.

    stage: ``connection``, ``TLS handshake``, ``headers`` or ``first byte``. status: None before the head.
    The text says what happened.
    """

    def __init__(
        self, cause: str, endpoint: Endpoint, stage: str, text: str, status: int | None = None
    ) -> None:
        super().__init__(text)
        self.cause, self.endpoint, self.stage, self.status = cause, endpoint, stage, status


class Response:
    """One response on its connection. endpoint: where it came from, after redirects."""

    def __init__(self, request: Request, timeout: float, deadline: float, clock: Callable[[], float]) -> None:
        self.endpoint = request.endpoint
        self._timeout, self._deadline, self._clock = timeout, deadline, clock
        self._parser = ResponseParser(self)
        self._sock: socket.socket | None = None
        self._stage = "connection"
        self._body_started = self._complete = False

    @property
    def status(self) -> int:
        """The status of the final response: 200 to 599, or 101."""
        return self._parser.status

    @property
    def content_type(self) -> str:
        """The MIME essence in lower case, without parameters; "" without one."""
        essence = self._parser.content_type.partition(b";")[0].strip().lower()
        return essence.decode("ascii", "backslashreplace")[:100]

    @property
    def retry_after(self) -> str:
        """The header of that name, or ""."""
        return self._parser.retry_after

    @property
    def challenge(self) -> str:
        """The header WWW-Authenticate, printable, or ""."""
        return self._parser.challenge

    @property
    def allow(self) -> str:
        """The header of that name, printable, or ""."""
        return self._parser.allow

    @property
    def location(self) -> str:
        """The header of that name, printable, or ""."""
        return self._parser.location

    def informational_received(self) -> None:
        """The parser has skipped an informational response."""

    def head_complete(self) -> None:
        """The parser has the head; its properties show it."""

    def body_received(self, body: bytes) -> None:
        """The parser has a piece of the body."""
        self._body_started = self._body_started or bool(body)

    def response_complete(self) -> None:
        """The response is complete."""
        self._complete = True

    def exchange(self, route: Route, data: bytes) -> None:
        """Connect, send the request and read the head. Raises RequestFailed."""
        with self._failures():
            self._sock = self._connect(route)
            if route.tls is not None:
                self._stage = "TLS handshake"
                self._set_timeout()
                # The handshake happens here, with the timeout of the socket.
                self._sock = route.tls.wrap_socket(self._sock, server_hostname=route.name)
            self._stage = "headers"
            self._set_timeout()
            self._sock.sendall(data)
            received = 0
            # The status stays 0 during informational responses, of which there may be any number.
            while not self._parser.status:
                chunk = self._receive()
                received += len(chunk)
                if not chunk:
                    raise RequestFailed(
                        causes.CLOSED,
                        self.endpoint,
                        self._stage,
                        "the connection was closed before a response head",
                    )
                if received > HEAD_LIMIT and not self._parser.status:
                    raise RequestFailed(
                        causes.LIMIT, self.endpoint, self._stage, f"a response head above {HEAD_LIMIT} bytes"
                    )

    def has_body(self) -> bool:
        """Wait for the first byte of the body; False when the response ends without one. Raises RequestFailed."""
        self._stage = "first byte"
        with self._failures():
            while not (self._body_started or self._complete):
                # The end of the connection also ends a body without a length (RFC 9112, 6.3).
                if not self._receive():
                    break
        return self._body_started

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._sock is not None:
            self._sock.close()

    def _connect(self, route: Route) -> socket.socket:
        failure: OSError = OSError("no address")
        for family, address in route.addresses:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                # The timeout of a socket limits one call, so each call gets what is left of the whole.
                sock.settimeout(self._time_left())
                sock.connect(address)
            except TimeoutError:
                # No time is left for another address.
                sock.close()
                raise
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _time_left(self) -> float:
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def _set_timeout(self) -> None:
        assert self._sock is not None
        # Set before each call, because the rest of the one timeout becomes shorter.
        self._sock.settimeout(self._time_left())

    def _receive(self) -> bytes:
        assert self._sock is not None
        self._set_timeout()
        chunk = self._sock.recv(READ)
        if chunk:
            self._parser.http.feed_data(chunk)
        return chunk

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Raise RequestFailed, with the stage that was reached, for whatever error ends the block."""
        endpoint = self.endpoint
        try:
            yield
        # In this order, because TimeoutError and SSLError are OSErrors as well.
        except TimeoutError:
            text = f"no {self._stage} within {self._timeout:g} s"
            status = self.status or None
            raise RequestFailed(causes.TIMEOUT, endpoint, self._stage, text, status) from None
        except ssl.SSLError as error:
            verify = isinstance(error, ssl.SSLCertVerificationError)
            why = error.reason or "the connection was closed"
            raise RequestFailed(
                causes.CERTIFICATE if verify else causes.TLS, endpoint, self._stage, f"TLS failed: {why}"
            ) from None
        except OSError as error:
            why = error.strerror or str(error)
            raise RequestFailed(
                causes.of_errno(error.errno), endpoint, self._stage, why, self.status or None
            ) from None
        except MALFORMED as error:
            raise RequestFailed(
                causes.PROTOCOL, endpoint, self._stage, f"{error}"[:120], self.status or None
            ) from None


class Client:
    """Sends requests and follows redirects. timeout: seconds for a request, its redirects included."""

    def __init__(
        self, router: Router, *, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._router, self._timeout, self._clock = router, timeout, clock

    @contextlib.contextmanager
    def open(self, request: Request) -> Iterator[Response]:
        """The final response, its head read. Raises RequestFailed, or RedirectRefused for a redirect that the
        harness does not follow."""
        deadline = self._clock() + self._timeout
        redirects = 0
        while True:
            response = Response(request, self._timeout, deadline, self._clock)
            try:
                response.exchange(self._route(request.endpoint), request.encode())
                if response.status not in REDIRECTS:
                    yield response
                    return
            finally:
                response.close()
            redirects += 1
            # The body of a redirect is of no use, so its connection is closed and the next request gets a new one.
            request = redirected(request, response.status, response.location, redirects)

    def _route(self, endpoint: Endpoint) -> Route:
        try:
            return self._router.route(endpoint)
        except ConfigError as error:
            raise RequestFailed(causes.UNREACHABLE, endpoint, "connection", str(error)) from None


def check_accepts(router: Router, endpoint: Endpoint) -> None:
    """Connect and close. Raises OSError when nothing accepts, ConfigError for a host without an address."""
    failure = OSError("no address")
    for family, address in router.route(endpoint).addresses:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(CONNECT_TIMEOUT)
            try:
                sock.connect(address)
                return
            except OSError as error:
                failure = error
    raise failure
