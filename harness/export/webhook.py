"""Sending JSON to a webhook: with retries, a time limit, and never showing its address."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from harness.core.errors import ConfigError, NotificationError, OptionError
from harness.http.client import Client, RequestFailed
from harness.http.endpoint import Endpoint
from harness.http.redirect import RedirectRefused
from harness.http.request import Request
from harness.http.route import Router

TIMEOUT = 5.0  # seconds for one try
PAUSES = (0.5, 1.0, 2.0)  # seconds between tries
MAX_PAUSE = 5.0  # seconds: a longer Retry-After is cut to this
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may pass by themselves


class Webhook:
    """One address that takes JSON by POST. Its path is a secret: messages name the host alone."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError for an invalid address, without quoting it."""
        if not url.startswith(("http://", "https://")):
            raise OptionError("notify", None, "expected http://… or https://…, the address of a webhook")
        try:
            self._endpoint = Endpoint.parse(url)
        except ConfigError:
            raise OptionError(
                "notify", None, "this is not a valid address; expected https://HOST/PATH"
            ) from None
        self.host = self._endpoint.origin[1]

    def send(self, data: Mapping[str, Any], *, pause: Callable[[float], object] = time.sleep) -> None:
        """Send one message. Raises NotificationError when all tries fail, after about 24 seconds at most if nothing
        answers."""
        body = json.dumps(data).encode()
        request = Request(self._endpoint, "POST", {"Content-Type": "application/json"}, body, streaming=False)
        client = Client(Router(), timeout=TIMEOUT)
        reason = ""
        for wait in (*PAUSES, None):
            retry_after = 0.0
            try:
                with client.open(request) as response:
                    if 200 <= response.status < 300:
                        return
                    reason = f"it answers {response.status}"
                    retry_after = _seconds(response.retry_after)
                    again = response.status in RETRYABLE
            except RequestFailed as error:
                reason, again = error.cause, True
            except RedirectRefused as error:
                reason, again = f"it redirects with {error.status} to an address that is not allowed", False
            if not again or wait is None:
                break
            pause(min(MAX_PAUSE, max(wait, retry_after)))
        raise NotificationError(f"no notification to {self.host}: {reason}; check its address")


def _seconds(text: str) -> float:
    """A Retry-After in seconds; 0 for a date."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
