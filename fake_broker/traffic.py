"""The messages that pass through the broker, between decoding and encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fake_broker.dialects import Dialect
from fake_broker.mdp import (
    ClientReply,
    ClientRequest,
    Disconnect,
    Heartbeat,
    Inbound,
    ToWorker,
    WorkerReady,
    WorkerReply,
    WorkerRequest,
    encode_client_reply,
    encode_to_worker,
)

FINAL = "FINAL"
PARTIAL = "PARTIAL"
REQUEST = "REQUEST"
READY = "READY"
HEARTBEAT = "HEARTBEAT"
DISCONNECT = "DISCONNECT"

COMMANDS = (REQUEST, PARTIAL, FINAL, READY, HEARTBEAT, DISCONNECT)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A decoded message of a peer. ``service`` is the worker's own one for worker messages, b"" if unknown."""

    identity: bytes
    message: Inbound
    service: bytes

    @property
    def command(self) -> str:
        """One of COMMANDS."""
        return _command(self.message)

    @property
    def from_client(self) -> bool:
        """True for a request; every other message is a worker's."""
        return isinstance(self.message, ClientRequest)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way to a peer.

    frames: if set, these are sent unchanged, and ``message`` is the message before a fault changed its encoding. delay:
    seconds to wait before sending. held: wait for the order ``release``. interval: seconds between two repetitions,
    until the fault ``cause`` ends or the peer disconnects.
    """

    to: bytes
    message: ClientReply | ToWorker
    service: bytes
    frames: tuple[bytes, ...] | None = None
    delay: float = 0.0
    held: bool = False
    interval: float | None = None
    cause: int | None = None

    @property
    def command(self) -> str:
        """One of COMMANDS."""
        return _command(self.message)

    @property
    def to_client(self) -> bool:
        """True for a reply; every other message is for a worker."""
        return isinstance(self.message, ClientReply)


def frames_of(out: Outgoing, dialect: Dialect) -> Sequence[bytes]:
    """The frames of a message as they are sent. A reply without a body gets one empty frame, which every dialect
    allows."""
    if out.frames is not None:
        return out.frames
    message = out.message
    if isinstance(message, ClientReply):
        return encode_client_reply(
            dialect, message.service or b"", message.body or (b"",), final=message.final
        )
    return encode_to_worker(dialect, message)


def _command(message: Inbound | ClientReply | ToWorker) -> str:
    if isinstance(message, (ClientReply, WorkerReply)):
        return FINAL if message.final else PARTIAL
    if isinstance(message, (ClientRequest, WorkerRequest)):
        return REQUEST
    if isinstance(message, WorkerReady):
        return READY
    if isinstance(message, Heartbeat):
        return HEARTBEAT
    assert isinstance(message, Disconnect)
    return DISCONNECT
