"""A small service for WSGI servers (gunicorn, pre-fork). ``/clean`` releases everything, ``/object`` retains one object
per connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

KEPT: list[object] = []


class Kept:
    __slots__ = ("held",)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    if environ["PATH_INFO"] == "/object":
        KEPT.append(Kept())  # planted object
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return iter([b"data: hello\n\n"])
