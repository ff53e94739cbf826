"""The output of a handler is sent when it returns, and the handler of a stream never returns."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.reference.blueprint import Blueprint

SUMMARY = "bytes are sent only when the handler returns (a middleware waits for the whole body)"
SEEN = "stalled: clients get neither headers nor events; the unsent bytes grow with each event"


class WholeBody:
    """Withholds every message until the last one has arrived, as an ETag middleware must."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One client's stream."""
        withheld: list[Message] = []

        async def hold(message: Message) -> None:
            withheld.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                for each in withheld:
                    await send(each)

        await self.app(scope, receive, hold)


def install(blueprint: Blueprint) -> None:
    """Wrap the responses of the streams."""
    blueprint.middleware["no-flush"] = WholeBody
