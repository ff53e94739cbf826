"""The request of each stream: its client, and whether it is invalid.

``{client}`` in a path, query, header or body is replaced by the number of the client. Invalid requests are of the
kinds in INVALID in turn: services answer them with an error, and some leak when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from harness.core.expected import ANY_STATUS, statuses
from harness.http.endpoint import Endpoint
from harness.http.request import Request
from harness.swarm.load import CLIENT_PLACEHOLDER, LoadOptions
from harness.swarm.setup import SwarmSetup

CLIENT_HEADER = "X-Client-Id"
UNKNOWN = "harness-unknown"  # a session, token and path that no service has


class Clients:
    """Assigns clients to streams, over all cycles of a pool. With several workers ``client_start`` and
    ``client_step`` keep their clients distinct."""

    def __init__(self, setup: SwarmSetup) -> None:
        load = setup.load
        self._clients, self._start, self._step = load.clients, setup.client_start, setup.client_step
        texts = (*load.headers.values(), (load.body or b"").decode("latin-1"))
        self.named = any(CLIENT_PLACEHOLDER in text for text in texts)
        self._opened = 0

    def next(self) -> int:
        """The number of the next client: 0 … N-1 in turn, or a new one for each stream where N is not given."""
        number = self._start + self._step * self._opened
        self._opened += 1
        return number % self._clients if self._clients else number

    def distinct(self, opened: int) -> int:
        """Clients so far, after ``opened`` streams, if the pool does not count clients itself."""
        if not self._opened:
            return min(1, opened)
        # The numbers of this process are start, start + step, … below the number of clients; the division rounds up.
        own = -(-max(0, self._clients - self._start) // self._step)
        return min(self._opened, own) if self._clients else self._opened


class Requests:
    """The requests of one cycle. Raises ConfigError for one that HTTP does not allow."""

    def __init__(
        self,
        endpoint: Endpoint,
        load: LoadOptions,
        clients: Clients,
        paths: Iterable[str],
        *,
        streaming: bool,
    ) -> None:
        self._endpoint, self._load, self._clients = endpoint, load, clients
        self._streaming = streaming
        self._expect = statuses(load.expect)
        again = load.keep_alive and not streaming
        self._headers = {"Connection": "keep-alive", **load.headers} if again else dict(load.headers)
        paths = tuple(dict.fromkeys(paths))
        placeholder = clients.named or any(CLIENT_PLACEHOLDER in path for path in paths)
        self.distinct = placeholder or load.clients > 0
        # The user asked for distinct clients and put their number nowhere, so a header shows it to the service.
        if self.distinct and not placeholder:
            self._headers.setdefault(CLIENT_HEADER, CLIENT_PLACEHOLDER)
        self._plain = {} if self.distinct else {path: self._of(path, 0) for path in paths}
        self._invalid = 0

    def of(self, path: str, *, invalid: bool = False) -> Request:
        """The request of the next stream at this path."""
        # Without a client's number in it the request is the same every time, and is built only once per path.
        number = self._clients.next() if self.distinct else 0
        request = self._plain.get(path) or self._of(path, number)
        if not invalid:
            return request
        # In turn rather than at random, so that even a short cycle has every kind.
        kind = INVALID[self._invalid % len(INVALID)]
        self._invalid += 1
        return replace(KINDS[kind](request), expect=ANY_STATUS)

    def _of(self, path: str, number: int) -> Request:
        who = str(number)
        load = self._load
        return Request(
            self._endpoint.at(path.replace(CLIENT_PLACEHOLDER, who)),
            load.method,
            {name: value.replace(CLIENT_PLACEHOLDER, who) for name, value in self._headers.items()},
            None if load.body is None else load.body.replace(CLIENT_PLACEHOLDER.encode(), who.encode()),
            self._streaming,
            self._expect,
        )


def _wrong_path(request: Request) -> Request:
    path, mark, query = request.endpoint.target.partition("?")
    return replace(request, endpoint=request.endpoint.at(f"{path.rstrip('/')}/{UNKNOWN}{mark}{query}"))


def _wrong_method(request: Request) -> Request:
    return replace(request, method="PUT" if request.method != "PUT" else "PATCH")


def _bad_credentials(request: Request) -> Request:
    # Valid credentials of the user beside the bad ones could still be accepted.
    kept = _without(request, "authorization", "cookie")
    return replace(request, headers={**kept, "Authorization": f"Bearer {UNKNOWN}"})


def _bad_body(request: Request) -> Request:
    kept = _without(request, "content-type")
    method = request.method if request.method not in ("GET", "HEAD") else "POST"
    return replace(
        request, method=method, headers={**kept, "Content-Type": "application/json"}, body=b'{"harness": '
    )


def _unknown_session(request: Request) -> Request:
    # Services look for a session in a header, in the query or in a cookie, so all three name an unknown one.
    kept = _without(request, "cookie", "mcp-session-id")
    target = request.endpoint.target
    endpoint = request.endpoint.at(f"{target}{'&' if '?' in target else '?'}session_id={UNKNOWN}")
    headers = {**kept, "Mcp-Session-Id": UNKNOWN, "Cookie": f"session={UNKNOWN}"}
    return replace(request, endpoint=endpoint, headers=headers)


def _without(request: Request, *names: str) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in names}


KINDS: dict[str, Callable[[Request], Request]] = {
    "wrong path": _wrong_path,
    "wrong method": _wrong_method,
    "bad credentials": _bad_credentials,
    "bad body": _bad_body,
    "unknown session": _unknown_session,
}
INVALID = tuple(KINDS)
