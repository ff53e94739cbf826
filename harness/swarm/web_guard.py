"""Protects Locust's web UI: no page of another site may use its buttons or read its figures.

Locust itself answers every origin (``Access-Control-Allow-Origin: *``) and accepts requests from any page.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable
from typing import Any

from harness.core.web_origin import is_own_host, is_same_origin

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # RFC 9110, 9.2.1
ORDERS = ("/swarm", "/stop", "/stats/reset", "/user")  # older versions of Locust take some of them by GET
CORS = "access-control-"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class WebGuard:
    """WSGI middleware. own_hosts: names under which this server is reached, besides addresses and localhost.
    read_only: users cannot be started or stopped here, because a run controls them."""

    def __init__(
        self, application: Application, own_hosts: Collection[str] = (), *, read_only: bool = False
    ) -> None:
        self._application = application
        self._own = {name.lower() for name in (*own_hosts, socket.gethostname(), socket.getfqdn())}
        self._read_only = read_only

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with 403 and the reason, or pass the request on."""
        if reason := self._refusal(environ):
            body = f"{reason}\n".encode()
            start_response(
                "403 Forbidden",
                [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
            )
            return [body]

        def without_cors(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            # The browser then applies its default: no other origin reads the response.
            kept = [(name, value) for name, value in headers if not name.lower().startswith(CORS)]
            return start_response(status, kept, *rest)

        return self._application(environ, without_cors)

    def _refusal(self, environ: Environ) -> str:
        """Why a request is refused, for its sender; empty for one that is answered."""
        host = environ.get("HTTP_HOST", "")
        if not is_own_host(host, self._own):
            return (
                f"Host is {host[:100]!r}; expected an address, localhost or this machine's name: allow another with "
                "--allowed-host NAME"
            )
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] in SAFE_METHODS and not path.rstrip("/").endswith(ORDERS):
            return ""
        if self._read_only:
            return "a run controls these users, so this web UI is read-only"
        if is_same_origin(host, environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")):
            return ""
        return (
            "this request changes something, and no Origin or Sec-Fetch-Site header shows that a page of this server "
            f"sent it. From a program, send the header Origin: http://{host[:100]}"
        )
