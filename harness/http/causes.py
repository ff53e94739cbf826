"""Why a stream failed: one short word each, so that statistics can be kept by cause.

The words go into ledgers, Locust's failures and reports; what is not in this table never leaves the swarm.
"""

from __future__ import annotations

import errno

REFUSED = "refused"  # nobody listens
UNREACHABLE = "unreachable"  # no route, no such host, no such socket file
TIMEOUT = "timeout"  # the kernel gave up connecting
RESET = "reset"  # the peer sent RST
CLOSED = "closed"  # the peer ended the stream although more was due
CERTIFICATE = "certificate"
TLS = "tls"
PROTOCOL = "protocol"  # not HTTP/1.1
CONTENT_TYPE = "content-type"
CONTENT_ENCODING = "content-encoding"  # compressed, which was not asked for
REDIRECT = "redirect"  # without Location, to nonsense, or without end
LIMIT = "limit"  # a line, an event or a header beyond its limit
STALLED = "stalled"  # silent, not even a comment, or it never began
DRIPPING = "dripping"  # not silent, but no whole head and no piece of a body within the stall time
RATE_LIMITED = ("rate-limited-429", "rate-limited-503")  # 503 only with Retry-After
CANCELLED = "cancelled"  # left before its time because the run was stopped
GENERATOR = "generator-limit"  # our own descriptors or ports are used up: the service is not to blame
WORKER_LOST = "worker-lost"  # the process that held it died

_ERRNO = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.EPIPE: RESET,
    errno.ECONNABORTED: RESET,
    errno.ETIMEDOUT: TIMEOUT,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETUNREACH: UNREACHABLE,
    errno.ENOENT: UNREACHABLE,
    errno.EMFILE: GENERATOR,
    errno.ENFILE: GENERATOR,
    errno.ENOBUFS: GENERATOR,
    errno.ENOMEM: GENERATOR,
    errno.EADDRNOTAVAIL: GENERATOR,
}

MIME = b"text/event-stream"


def of_errno(code: int | None) -> str:
    """An errno as a cause; unknown ones keep their name, in lower case."""
    return _ERRNO.get(code or 0) or errno.errorcode.get(code or 0, "unknown").lower()


def accepted(status: int, *, streaming: bool, expect: frozenset[int] | None = None) -> bool:
    """True for a status that the request expects: 200 for a stream, below 400 for a plain request."""
    if expect is not None:
        return status in expect
    return status == 200 if streaming else status < 400


def of_response(
    status: int,
    content_type: bytes,
    content_encoding: bytes,
    retry_after: str,
    *,
    streaming: bool,
    expect: frozenset[int] | None = None,
) -> str | None:
    """Why a response is not a stream (HTML Living Standard, 9.2.3), or None for a good one.

    A stream wants 200 and the MIME essence text/event-stream, without case and without parameters.
    A plain request (``streaming`` false) wants a status below 400.
    """
    good = accepted(status, streaming=streaming, expect=expect)
    if not good and status == 429:
        return RATE_LIMITED[0]
    if not good and status == 503 and retry_after:
        return RATE_LIMITED[1]
    if not good:
        return f"status-{status}"
    if not streaming:
        return None
    if content_type.partition(b";")[0].strip().lower() != MIME:
        return CONTENT_TYPE
    if content_encoding.strip().lower() not in (b"", b"identity"):
        return CONTENT_ENCODING
    return None
