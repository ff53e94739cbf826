"""Wait until the service answers, and look at what it answers before loading it."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from harness.core.errors import ConfigError, PortTaken, TargetError

POLL = 0.05
MAX_REDIRECTS = 10


class Watched(Protocol):
    """What waiting needs of a target."""

    @property
    def alive(self) -> bool:
        """False once it has ended."""

    def poll(self) -> int | None:
        """Its return code, if known."""

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of its log."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """One look at the stream before the load. problem is None when it streams as it should;
    ``stalls`` says that nothing came in time, which is a verdict of its own and no reason to stop."""

    status: int | None
    content_type: str
    first_byte: float | None
    problem: str | None
    stalls: bool = False


def check_url(url: str) -> None:
    """Raise ConfigError for anything but an absolute http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"--url {url!r}: {error}; expected http://HOST:PORT/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"--url {url!r}: not an absolute URL; expected http://HOST:PORT/PATH")
    if port == 0:
        raise ConfigError(f"--url {url!r}: port 0; expected a port, or {{port}} to have one chosen")


def check_free(url: str) -> None:
    """Raise PortTaken when something listens at the URL already: the load would meet a stranger."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=1.0).close()
    except OSError:
        return
    raise PortTaken(
        f"port {port} is taken: something listens at {parts.netloc} before the service was started; expected a "
        "free port: stop it, or use {port} in --url and in the command"
    )


def last_words(target: Watched, lines: int = 8) -> str:
    """The end of the target's log, as part of an error line."""
    tail = [line.strip() for line in target.tail(lines) if line.strip()]
    return f"; its log ends: {' | '.join(tail)}" if tail else "; its log is empty"


def _connect(url: str, timeout: float, *, insecure: bool, ca: Path | None) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)


def ended(target: Watched, port: int, seconds: float) -> TargetError:
    """The error for a service that ended by itself before any load."""
    code = target.poll()
    how = "the exit code is not known" if code is None else f"exit code {code}"
    if code == 0:
        how += ": perhaps it forked into the background; then run it there yourself and give --attach-port"
    return TargetError(
        f"the service ended before it was ready ({how}, after {seconds:.1f} s); expected it to "
        f"stay in the foreground and listen on port {port}{last_words(target)}"
    )


def wait_ready(
    url: str,
    target: Watched,
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    http_answer: bool = False,
    insecure: bool = False,
    ca: Path | None = None,
) -> float:
    """Wait until the URL's port accepts, or with ``http_answer`` until it answers below 500.

    Returns the seconds it took. Raises TargetError when the target ends first or the time is up.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    start = clock()
    last = "nothing listens"
    while True:
        if not target.alive:
            raise ended(target, port, clock() - start)
        try:
            if http_answer:
                connection = _connect(url, 1.0, insecure=insecure, ca=ca)
                try:
                    connection.request("GET", parts.path or "/")
                    status = connection.getresponse().status
                finally:
                    connection.close()
                if status < 500:
                    return clock() - start
                last = f"it answers {status}"
            else:
                socket.create_connection((host, port), timeout=1.0).close()
                return clock() - start
        except (OSError, http.client.HTTPException) as error:
            last = str(error) or type(error).__name__
        if clock() - start > timeout:
            raise TargetError(
                f"the service was not ready after {timeout:g} s: {url} ({last}); expected it to listen there: "
                f"check the command's port, or give --ready URL or a longer --ready-timeout{last_words(target)}"
            )
        time.sleep(POLL)


def preflight(
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    body: bytes | None = None,
    insecure: bool = False,
    ca: Path | None = None,
    stream: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Preflight:
    """Open the stream once and say what is wrong with it, in the user's words. Never raises."""
    start = clock()
    seen = url
    status: int | None = None
    try:
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(seen)
            connection = _connect(seen, timeout, insecure=insecure, ca=ca)
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request(
                    method,
                    path,
                    body=body,
                    headers={"Accept": "text/event-stream", "Cache-Control": "no-cache", **(headers or {})},
                )
                response = connection.getresponse()
                status = response.status
                kind = response.headers.get_content_type() if response.headers.get("Content-Type") else ""
                if status in (301, 302, 303, 307, 308):
                    location = response.headers.get("Location")
                    if not location:
                        return Preflight(status, kind, None, f"{url} answers {status} without a Location")
                    seen = urljoin(seen, location)
                    continue
                problem = _refusal(
                    url, seen, status, kind, response.headers.get("Retry-After"), stream=stream
                )
                if problem:
                    return Preflight(status, kind, None, problem)
                if not stream:
                    return Preflight(status, kind, clock() - start, None)
                first = response.read1(1)
                if not first:
                    problem = f"{url} answers 200 text/event-stream and closes the stream at once"
                    return Preflight(status, kind, None, problem)
                return Preflight(status, kind, clock() - start, None)
            finally:
                connection.close()
        problem = f"{url} redirects without end (last to {seen}); expected a stream"
        return Preflight(status, "", None, problem)
    except TimeoutError:
        what = "headers" if status is None else "a first byte"
        return Preflight(status, "", None, f"{url} sent no {what} within {timeout:g} s", stalls=True)
    except ssl.SSLError as error:
        problem = (
            f"{url}: TLS failed: {error.reason}; use --ca FILE, or --insecure for a self-signed certificate"
        )
        return Preflight(status, "", None, problem)
    except ConnectionRefusedError:
        return Preflight(status, "", None, f"{url} refuses connections; expected the service to listen there")
    except (OSError, http.client.HTTPException, ValueError) as error:
        kind = type(error).__name__
        return Preflight(status, "", None, f"{url} does not speak HTTP ({kind}: {str(error)[:120]!r})")


def _refusal(
    url: str, seen: str, status: int, kind: str, retry_after: str | None, *, stream: bool
) -> str | None:
    where = url if seen == url else f"{url} (redirected to {seen})"
    if status in (401, 403):
        return f"{where} answers {status}: it needs a login; give --header 'Authorization: …' or a cookie"
    if status in (429, 503):
        after = f", Retry-After {retry_after}" if retry_after else ""
        return f"{where} answers {status}{after}: rate limited or not available; expected a stream"
    if status == 404:
        return f"{where} answers 404: no such path; check the path of --url"
    if status >= 400 or (stream and status != 200):
        return f"{where} answers {status}; expected 200"
    if stream and kind.lower() != "text/event-stream":
        hint = " (a page: perhaps a login)" if kind == "text/html" else ""
        return (
            f"{where} answers {kind or 'no content type'}{hint}; expected text/event-stream, "
            "or use --mode request for plain HTTP"
        )
    return None
