"""At most ``--socket-limit`` ZeroMQ sockets at once."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint

SUMMARY = "a ceiling on open sockets: a check that would open one more fails instead"


def install(blueprint: Blueprint) -> None:
    """Set the ceiling."""
    blueprint.socket_limit = blueprint.settings.socket_limit
