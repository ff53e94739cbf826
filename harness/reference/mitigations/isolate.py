"""ZeroMQ in a child process: if it crashes, the service continues."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint
from harness.reference.isolation import IsolatedExchange

SUMMARY = "all ZeroMQ work in a child process, which is restarted when it exits"
NAME = "isolate"


def install(blueprint: Blueprint) -> None:
    """Ask the child in place of the DEALER client."""

    def start(drawn: Blueprint) -> IsolatedExchange:
        exchange = IsolatedExchange(
            drawn.settings, [name for name in drawn.names if name != NAME], drawn.counters
        )
        drawn.closing.append(exchange.close)
        return exchange

    blueprint.exchange = start
