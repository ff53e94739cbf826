"""Why a stream failed: one short text per cause, for statistics.

These texts are used in ledgers, in Locust's failures and in reports; the swarm reports no other causes.
"""

from __future__ import annotations

import errno

REFUSED = "refused"  # nothing listens
UNREACHABLE = "unreachable"  # no route, no such host, no such socket file
TIMEOUT = "timeout"  # the kernel stopped trying to connect
RESET = "reset"  # the peer sent RST
CLOSED = "closed"  # the peer closed the connection before the response was complete
CERTIFICATE = "certificate"
TLS = "tls"
PROTOCOL = "protocol"  # not HTTP/1.1
CONTENT_TYPE = "content-type"
CONTENT_ENCODING = "content-encoding"  # compressed, although the request does not accept it
REDIRECT = "redirect"  # without Location, to an invalid URL, or without end
LIMIT = "limit"  # a line, an event or a header beyond its limit
STALLED = "stalled"  # no response head, or nothing in the stream, not even a comment
DRIPPING = "dripping"  # bytes arrive, but no complete head and no piece of a body within the stall time
RATE_LIMITED = ("rate-limited-429", "rate-limited-503")  # 503 only with Retry-After
CANCELLED = "cancelled"  # the run was stopped
GENERATOR = "generator-limit"  # the generator has no descriptors or ports left: the service is not to blame
WORKER_LOST = "worker-lost"  # the worker with this stream exited

_ERRNO = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    # The peer has reset the connection before this write.
    errno.EPIPE: RESET,
    errno.ECONNABORTED: RESET,
    errno.ETIMEDOUT: TIMEOUT,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETUNREACH: UNREACHABLE,
    errno.ENOENT: UNREACHABLE,
    # Resources of this machine that ran out.
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

    A stream requires 200 and the MIME essence text/event-stream, without case and without parameters. A plain
    request (``streaming`` false) requires a status below 400.
    """
    good = accepted(status, streaming=streaming, expect=expect)
    if not good and status == 429:
        return RATE_LIMITED[0]
    # A 503 without Retry-After is a failure like any other; with it, the service asks its clients to slow down.
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
