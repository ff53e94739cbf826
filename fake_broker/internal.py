"""Services that the broker process answers itself, so that a health check needs no worker process."""

from __future__ import annotations

import json


def answer(service: bytes, body: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """``ping`` gives ``pong`` (plantd's State service does), no body or an empty one gives the health as JSON,
    anything else comes back as it is."""
    if not any(body):
        name = service.decode("utf-8", "backslashreplace")
        return (json.dumps({"service": name, "status": "healthy"}).encode(),)
    if body[0] == b"ping":
        return (b"pong",)
    return body
