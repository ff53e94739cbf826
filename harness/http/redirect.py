"""The redirect policy, the same for the preflight request, the readiness check and the load. Pure.

Credentials never leave their origin (scheme, host and port, RFC 6454). A header of the user
may contain one whatever its name, so only headers that cannot are sent to another origin; a body is never sent there.
"""

from __future__ import annotations

from dataclasses import replace

from harness.core.errors import ConfigError
from harness.http.request import Request

MAX_REDIRECTS = 20  # as in browsers (Fetch Standard, 4.4)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
NO_CREDENTIAL = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "connection", "pragma", "user-agent"}
)


class RedirectRefused(ConfigError):
    """A redirect that the harness does not follow. The text completes "the service ..."."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def redirected(request: Request, status: int, location: str, count: int) -> Request:
    """The request that follows the ``count``-th redirect. Raises RedirectRefused."""
    if not location:
        raise RedirectRefused(status, f"answers {status} without a Location; expected 200")
    if count > MAX_REDIRECTS:
        raise RedirectRefused(status, f"redirects without end (last to {location[:200]}); expected a stream")
    try:
        endpoint = request.endpoint.join(location)
    except ConfigError as error:
        raise RedirectRefused(status, f"redirects to a Location that cannot be followed: {error}") from None
    method, headers, body = request.method, request.headers, request.body
    # 301 and 302 after a POST, and 303 after anything but HEAD, ask for a GET (Fetch Standard, 4.4).
    if (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD")):
        method, body = "GET", None
        headers = {name: value for name, value in headers.items() if not _describes_body(name)}
    if endpoint.origin != request.endpoint.origin:
        if body is not None or method not in ("GET", "HEAD", "OPTIONS"):
            raise RedirectRefused(
                status,
                f"answers {status} to a {method} and names another origin, {endpoint.url[:200]}; the harness "
                "sends a body only to the origin that it was given for",
            )
        # A list of what is harmless, because a header with a credential may have any name.
        headers = {name: value for name, value in headers.items() if name.lower() in NO_CREDENTIAL}
    return replace(request, endpoint=endpoint, method=method, headers=headers, body=body)


def _describes_body(name: str) -> bool:
    return name.lower().startswith("content-") or name.lower() in ("transfer-encoding", "expect")
