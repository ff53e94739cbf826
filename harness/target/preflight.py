"""Look at what the service answers before loading it: what is plainly wrong is said in plain words."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from harness.target.ready import bounded, connect

MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
CHECK = "open the URL by hand (curl -N -i) and compare"


@dataclass(frozen=True, slots=True)
class Preflight:
    """One look at the stream before the load. problem is None when it streams as it should; advice: the next
    step. ``stalls`` says that nothing came in time, which is a verdict of its own and no reason to stop."""

    status: int | None
    content_type: str
    first_byte: float | None
    problem: str | None
    advice: str = CHECK
    stalls: bool = False


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
    awaited = "connection"
    try:
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(seen)
            connection = connect(seen, timeout, insecure=insecure, ca=ca)
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.connect()
                awaited = "headers"
                with bounded(connection, timeout):
                    connection.request(
                        method,
                        path,
                        body=body,
                        headers={
                            "Accept": "text/event-stream",
                            "Cache-Control": "no-cache",
                            **(headers or {}),
                        },
                    )
                    response = connection.getresponse()
                    status = response.status
                    kind = response.headers.get_content_type() if response.headers.get("Content-Type") else ""
                    if status in REDIRECTS:
                        location = response.headers.get("Location")
                        if not location:
                            problem = f"{url} answers {status} without a Location; expected 200"
                            return Preflight(status, kind, None, problem)
                        seen = urljoin(seen, location)
                        continue
                    refused = _refusal(
                        url, seen, status, kind, response.headers.get("Retry-After"), stream=stream
                    )
                    if refused:
                        return Preflight(status, kind, None, *refused)
                    awaited = "first byte"
                    if not stream:
                        return Preflight(status, kind, clock() - start, None)
                    first = response.read1(1)
                    if not first:
                        problem = f"{url} answers 200 text/event-stream and closes the stream at once, without a byte"
                        advice = "see in its log why the handler returns; a stream stays open until its client leaves"
                        return Preflight(status, kind, None, problem, advice)
                    return Preflight(status, kind, clock() - start, None)
            finally:
                connection.close()
        problem = f"{url} redirects without end (last to {seen}); expected a stream"
        advice = (
            "give the URL that the redirects should lead to; often a trailing slash, a host name or a login"
        )
        return Preflight(status, "", None, problem, advice)
    except TimeoutError:
        if awaited == "connection" and url.startswith("https:"):
            problem = f"{url} did not answer the TLS handshake within {timeout:g} s"
            return Preflight(status, "", None, problem, "give http:// if the service does not speak TLS")
        problem = f"{url}: no {awaited} within {timeout:g} s"
        return Preflight(status, "", None, problem, stalls=True)
    except ssl.SSLError as error:
        return Preflight(
            status, "", None, f"{url}: TLS failed: {error.reason}",
            "give --ca FILE, --insecure for a self-signed certificate, or http:// if it does not speak TLS",
        )  # fmt: skip
    except ConnectionRefusedError:
        return Preflight(status, "", None, f"{url} refuses connections; expected the service to listen there")
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = f"{type(error).__name__}: {str(error)[:120]!r}"
        advice = "check that --url names its HTTP port, and https:// if it speaks TLS"
        return Preflight(status, "", None, f"{url} does not speak HTTP ({why})", advice)


def _refusal(
    url: str, seen: str, status: int, kind: str, retry_after: str | None, *, stream: bool
) -> tuple[str, str] | None:
    """What is wrong with an answer, and the next step."""
    where = url if seen == url else f"{url} (redirected to {seen})"
    if status in (401, 403):
        advice = "give --header 'Authorization: …' or --header 'Cookie: …'"
        return f"{where} answers {status}: it needs a login", advice
    if status in (429, 503):
        after = f", Retry-After {retry_after}" if retry_after else ""
        advice = "give --ready a URL that says when it is up, or raise its limit for the test"
        return f"{where} answers {status}{after}: rate limited or not available; expected 200", advice
    if status == 404:
        return f"{where} answers 404: no such path", "give --url the path of the stream"
    if status == 405:
        return (
            f"{where} answers 405: another method is expected",
            "give --method, and --body where it has one",
        )
    if status >= 500:
        return f"{where} answers {status}: it fails by itself; expected 200", "see in its log why"
    if status >= 400 or (stream and status != 200):
        return f"{where} answers {status}; expected 200", CHECK
    if stream and kind.lower() != "text/event-stream":
        page = kind == "text/html"
        what = "a page (text/html, perhaps a login)" if page else kind or "no content type"
        advice = "give --url the path of the stream, or --mode request to guard plain HTTP"
        return f"{where} answers {what} instead of a stream; expected text/event-stream", advice
    return None
