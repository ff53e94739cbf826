"""When Majordomo does not answer, ask the component over HTTP."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.parse
from collections.abc import Callable

from harness.reference.blueprint import Blueprint
from harness.reference.health import OVER_HTTP
from harness.reference.mdp_client import Exchange, Question
from harness.reference.sockets import CheckFailed

SUMMARY = "a check that fails over ZeroMQ is made over HTTP, and so are later ones for the recovery time"
ORDER = 3

SHARE = 0.6  # of the timeout is for ZeroMQ, the rest for HTTP
BODY_LIMIT = 4096  # bytes read of an answer


class HttpFallback:
    """ZeroMQ first; after a failure HTTP alone until ``recovery`` seconds have passed."""

    def __init__(
        self, inner: Exchange, url: str, recovery: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inner = inner
        self.url = url
        self.recovery = recovery
        self._clock = clock
        self._lock = threading.Lock()
        self._until = float("-inf")

    def __call__(self, question: Question, timeout: float) -> tuple[bytes, ...]:
        """See ``Exchange``."""
        began = self._clock()
        if began >= self._until:
            try:
                return self.inner(question, timeout * SHARE)
            except CheckFailed:
                with self._lock:
                    self._until = self._clock() + self.recovery
        return self._ask(question, max(timeout - (self._clock() - began), timeout * (1 - SHARE)))

    def _ask(self, question: Question, timeout: float) -> tuple[bytes, ...]:
        parts = urllib.parse.urlsplit(self.url.replace("{component}", question.component))
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
        try:
            connection.request("GET", parts.path or "/", headers={"Connection": "close"})
            response = connection.getresponse()
            response.read(BODY_LIMIT)
            return OVER_HTTP, str(response.status).encode()
        except TimeoutError:
            raise CheckFailed(f"{self.url}: no answer within {timeout:g} s", timeout=True) from None
        except (OSError, http.client.HTTPException) as error:
            raise CheckFailed(f"{self.url}: {error}") from None
        finally:
            connection.close()


def install(blueprint: Blueprint) -> None:
    """Wrap the exchange."""

    def wrap(inner: Exchange) -> Exchange:
        settings = blueprint.settings  # as they are when the service is built: the port is known then
        own = f"http://{settings.host}:{settings.port}/components/{{component}}/health"
        return HttpFallback(inner, settings.health_url or own, settings.breaker_recovery)

    blueprint.around.append(wrap)
