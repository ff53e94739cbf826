"""A whole ZeroMQ context per check."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import Link, LinkPerCheck

SUMMARY = "a ZeroMQ context, with its socket, per check; neither is ever closed"
SEEN = "fds: +4 eventfd, +2 eventpoll and +1 tcp-out per check; threads: +2 per check"


class ContextPerCheck(LinkPerCheck):
    """Every exchange starts its own I/O thread and reaper thread."""

    def acquire(self, timeout: float) -> Link:
        """A link in a context of its own."""
        context = self.sockets.new_context()
        link = Link(self.sockets, self.sockets.open(self.endpoint, context))
        link.context = context
        return link

    def release(self, link: Link, ok: bool) -> None:
        """Close neither the socket nor the context."""


def install(blueprint: Blueprint) -> None:
    """Replace the policy for opening and closing sockets."""
    blueprint.links = ContextPerCheck
