"""Services that the broker process answers itself, so that a health check needs no worker process."""

from __future__ import annotations

import json


def answer(service: bytes, body: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The body of the reply: ``pong`` to ``ping``, as plantd's State service; the health as JSON to no body or an empty
    one; and any other body unchanged."""
    if not any(body):
        name = service.decode("utf-8", "backslashreplace")
        return (json.dumps({"service": name, "status": "healthy"}).encode(),)
    if body[0] == b"ping":
        return (b"pong",)
    return body
