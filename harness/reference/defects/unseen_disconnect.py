"""The handler never notices that its client has disconnected.

As in fasthttp: while a handler runs, the connection is not read, so neither FIN nor RST is noticed; and data is
written only while the kernel reports the connection as established, so that no write fails with a broken pipe either.
Handler, descriptor and memory are never released; the descriptor is CLOSE_WAIT after a FIN, and has no row in any
socket table after a reset.
"""

from __future__ import annotations

import asyncio
import socket

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from harness.reference.blueprint import Blueprint

SUMMARY = "streams never notice that their client disconnects"
SEEN = "per connection: +1 close-wait (rowless after a reset), tasks, memory"

ESTABLISHED = 1  # first byte of TCP_INFO (linux/tcp_states.h)
_transports: dict[tuple[str, int], asyncio.Transport] = {}


class KnownTransport(HttpToolsProtocol):
    """uvicorn's protocol, which remembers its transport by the client's address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember."""
        super().connection_made(transport)
        _transports[transport.get_extra_info("peername")[:2]] = transport
        self._peer = transport.get_extra_info("peername")[:2]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget, unless another connection has the address by now."""
        if _transports.get(self._peer) is self.transport:
            del _transports[self._peer]
        super().connection_lost(exc)


class UnseenDisconnect:
    """Around a stream: stops reading, never delivers ``http.disconnect``, writes only to established connections."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One client's stream."""
        transport = _transports.get(tuple(scope["client"] or ())[:2])
        if transport is None:  # the client disconnected before its handler began
            return
        transport.pause_reading()
        connection = transport.get_extra_info("socket")

        async def never() -> Message:
            await asyncio.Event().wait()
            raise AssertionError("an event that nobody sets")

        async def guarded(message: Message) -> None:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
            if info[0] == ESTABLISHED:
                await send(message)

        await self.app(scope, never, guarded)


def install(blueprint: Blueprint) -> None:
    """Wrap the streams as the outermost layer, directly at the connection."""
    blueprint.protocol = KnownTransport
    blueprint.middleware["unseen-disconnect"] = UnseenDisconnect
