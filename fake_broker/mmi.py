"""The Majordomo management interface: the broker itself answers every ``mmi.*`` (RFC 8).

RFC 8 defines ``mmi.service`` (200 when a worker serves it, else 404) and 501 for a request that a broker does not know.
plantd's App requests ``mmi.services``, ``mmi.status``, ``mmi.service.NAME`` and ``mmi.metrics``, each without a body.
plantd's own broker never answers them; this one does, unless the plantd quirks are on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from fake_broker.quirks import Quirks

PREFIX = b"mmi."
OK = b"200"
NOT_FOUND = b"404"
NOT_IMPLEMENTED = b"501"


class Directory(Protocol):
    """Provides the facts for the answers."""

    def service_names(self) -> Sequence[bytes]:
        """Every service that has a worker or is internal, sorted."""

    def available(self, service: bytes) -> bool:
        """Whether a request would be served at once. Busy workers do not count."""

    def metrics(self) -> Mapping[str, int]:
        """Counters by name."""


def is_management(service: bytes) -> bool:
    """Whether the broker itself answers for this service."""
    return service.startswith(PREFIX)


def answer(
    service: bytes, body: Sequence[bytes], directory: Directory, quirks: Quirks | None = None
) -> tuple[bytes, ...]:
    """Body frames of the reply to an ``mmi.*`` request; never empty."""
    quirks = quirks or Quirks()
    code = _code(service, body, directory, quirks)
    if quirks.code_in_last_frame and body:
        return (*body[:-1], code)
    if code == OK and service == b"mmi.services":
        return tuple(directory.service_names()) or (b"",)
    if code == OK and service == b"mmi.metrics":
        return (json.dumps(dict(directory.metrics())).encode(),)
    return (code,)


def _code(service: bytes, body: Sequence[bytes], directory: Directory, quirks: Quirks) -> bytes:
    if service == b"mmi.service":
        return OK if body and directory.available(body[-1]) else NOT_FOUND
    if quirks.only_mmi_service:
        return NOT_IMPLEMENTED
    if service.startswith(b"mmi.service."):
        return OK if directory.available(service.removeprefix(b"mmi.service.")) else NOT_FOUND
    if service in (b"mmi.status", b"mmi.services", b"mmi.metrics"):
        return OK
    return NOT_IMPLEMENTED
