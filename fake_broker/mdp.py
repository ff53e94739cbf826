"""Majordomo on the wire: frames ⇄ messages, for client, worker and broker.

Frames are as a DEALER peer sends or receives them; the ROUTER adds and strips the identity. Nothing here does I/O, so
the broker, its tests and any client share one definition of the wire. The tables of ``fake_broker.dialects`` have the
differences between dialects. Sources: ZeroMQ RFC 7 (MDP/0.1) and RFC 18 (MDP/0.2).

>>> encode_client_request("plantd", "state", [b"ping"])
[b'', b'MDPC02', b'REQUEST', b'state', b'ping']
>>> decode_client_reply("plantd", [b"MDPC02", b"FINAL", b"state", b"pong"])
ClientReply(service=b'state', body=(b'pong',), final=True)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fake_broker.dialects import DIALECTS, Body, Dialect, Envelope, Kind, Table, dialect

__all__ = [
    "DIALECTS",
    "ClientReply",
    "ClientRequest",
    "Dialect",
    "Disconnect",
    "Heartbeat",
    "ProtocolError",
    "UnsupportedMessage",
    "WorkerReady",
    "WorkerReply",
    "WorkerRequest",
    "decode_client_reply",
    "decode_inbound",
    "decode_to_worker",
    "dialect",
    "encode_client_reply",
    "encode_client_request",
    "encode_to_worker",
    "encode_worker_disconnect",
    "encode_worker_heartbeat",
    "encode_worker_ready",
    "encode_worker_reply",
]

EMPTY = b""


class ProtocolError(Exception):
    """The peer's frames are not a message of the dialect. ``reason`` is a short slug for counters:
    ``short``, ``delimiter``, ``header``, ``command``, ``envelope``, ``body`` or ``trailing``."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class UnsupportedMessage(ValueError):
    """The caller's mistake: the dialect has no such message (0.1 has no PARTIAL), or a body is missing."""


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """Client → broker: a request to a service."""

    service: bytes
    body: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ClientReply:
    """Broker → client. ``final`` is False for a PARTIAL; ``service`` is None where the dialect does not name it."""

    service: bytes | None
    body: tuple[bytes, ...]
    final: bool = True


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """Worker → broker: ready for requests to this service."""

    service: bytes


@dataclass(frozen=True, slots=True)
class WorkerRequest:
    """Broker → worker: a client's request; ``client`` is that client's ROUTER identity."""

    client: bytes
    body: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WorkerReply:
    """Worker → broker: (part of) the answer for ``client``."""

    client: bytes
    body: tuple[bytes, ...]
    final: bool = True


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Worker → broker or broker → worker: the sender is alive."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Worker → broker or broker → worker: the sender ends the connection."""


Inbound = ClientRequest | WorkerReady | WorkerReply | Heartbeat | Disconnect
"""The messages that a broker receives."""

ToWorker = WorkerRequest | Heartbeat | Disconnect
"""The messages that a worker receives."""


# ---------------------------------------------------------------------------------------------- one layout


def _pack(dialect_: Dialect, kind: Kind, envelope: bytes | None, body: Sequence[bytes]) -> list[bytes]:
    """The frames of a message as the dialect's layout has them. envelope: the address or the service; None for none.
    Raises UnsupportedMessage."""
    layout = dialect_.layouts.get(kind)
    if layout is None:
        raise UnsupportedMessage(f"dialect {dialect_.name} has no {kind.name.lower().replace('_', ' ')}")
    if layout.body is Body.SOME and not body:
        raise UnsupportedMessage(
            f"dialect {dialect_.name} needs at least one body frame: give [b''] for none"
        )
    frames = [EMPTY, layout.header] if layout.delimiter else [layout.header]
    if layout.command is not None:
        frames.append(layout.command)
    if layout.envelope is not Envelope.NONE:
        frames.append(envelope or EMPTY)
        if layout.envelope is Envelope.ADDRESS_EMPTY:
            frames.append(EMPTY)
    frames += body
    return frames


def _unpack(table: Table, frames: Sequence[bytes]) -> tuple[Kind, bytes, tuple[bytes, ...]]:
    """Find the layout for the header and the command. Returns kind, envelope and body. Raises ProtocolError."""
    if not frames:
        raise ProtocolError("short", "no frames at all; expected at least a header")
    at = 1 if frames[0] == EMPTY else 0
    if len(frames) == at:
        raise ProtocolError("short", "only a delimiter; expected a header after it")
    commands = table.get(frames[at])
    if commands is None:
        expected = " or ".join(repr(h.decode()) for h in table)
        raise ProtocolError("header", f"header {_shown(frames[at])}; expected {expected}")
    # Requests and replies of clients have no command in 0.1.
    found = commands.get(None)
    delimited = at == 1
    at += 1
    if found is None:
        if len(frames) == at:
            raise ProtocolError("short", "no command after the header")
        found = commands.get(frames[at])
        if found is None:
            raise ProtocolError("command", f"command {_shown(frames[at])} is none that a peer may send here")
        at += 1
    kind, layout = found
    if layout.delimiter is not delimited:
        what = "no empty delimiter frame" if layout.delimiter else "an empty delimiter frame"
        raise ProtocolError(
            "delimiter", f"{what} before {layout.header.decode()}, which the dialect does not allow"
        )
    envelope = EMPTY
    if layout.envelope is not Envelope.NONE:
        if len(frames) == at:
            raise ProtocolError("envelope", f"{kind.name} ends before its service or address")
        envelope = frames[at]
        at += 1
        if layout.envelope is Envelope.ADDRESS_EMPTY:
            if len(frames) == at or frames[at] != EMPTY:
                raise ProtocolError("envelope", f"{kind.name} lacks the empty frame after the address")
            at += 1
        elif layout.envelope is Envelope.ADDRESS and len(frames) > at and frames[at] == EMPTY:
            at += 1
    body = tuple(frames[at:])
    if layout.body is Body.SOME and not body:
        raise ProtocolError("body", f"{kind.name} has no body frame; the dialect needs one")
    if layout.body is Body.NONE and body:
        raise ProtocolError("trailing", f"{len(body)} frames after the end of {kind.name}")
    return kind, envelope, body


def _shown(frame: bytes) -> str:
    return repr(frame) if len(frame) <= 32 else f"{frame[:32]!r}… ({len(frame)} bytes)"


def as_name(service: str | bytes) -> bytes:
    """A service name as bytes, as it is sent."""
    return service.encode() if isinstance(service, str) else service


# ---------------------------------------------------------------------------------------------- client side


def encode_client_request(
    dialect_: str | Dialect, service: str | bytes, body: Sequence[bytes] = ()
) -> list[bytes]:
    """A client's request. Raises UnsupportedMessage when the dialect needs a body and there is none."""
    return _pack(dialect(dialect_), Kind.CLIENT_REQUEST, as_name(service), body)


def decode_client_reply(dialect_: str | Dialect, frames: Sequence[bytes]) -> ClientReply:
    """The broker's reply to a client. Raises ProtocolError."""
    resolved = dialect(dialect_)
    kind, envelope, body = _unpack(resolved.client_side, frames)
    named = resolved.layouts[kind].envelope is Envelope.SERVICE
    return ClientReply(envelope if named else None, body, kind is Kind.CLIENT_FINAL)


# ---------------------------------------------------------------------------------------------- worker side


def encode_worker_ready(dialect_: str | Dialect, service: str | bytes) -> list[bytes]:
    """A worker's first message."""
    return _pack(dialect(dialect_), Kind.WORKER_READY, as_name(service), ())


def encode_worker_reply(
    dialect_: str | Dialect, client: bytes, body: Sequence[bytes], *, final: bool = True
) -> list[bytes]:
    """A worker's answer for that client. Raises UnsupportedMessage for a partial one in 0.1."""
    return _pack(dialect(dialect_), Kind.WORKER_FINAL if final else Kind.WORKER_PARTIAL, client, body)


def encode_worker_heartbeat(dialect_: str | Dialect) -> list[bytes]:
    """A worker's heartbeat."""
    return _pack(dialect(dialect_), Kind.HEARTBEAT_IN, None, ())


def encode_worker_disconnect(dialect_: str | Dialect) -> list[bytes]:
    """A worker's DISCONNECT."""
    return _pack(dialect(dialect_), Kind.DISCONNECT_IN, None, ())


def decode_to_worker(dialect_: str | Dialect, frames: Sequence[bytes]) -> ToWorker:
    """The broker's message to a worker. Raises ProtocolError."""
    kind, envelope, body = _unpack(dialect(dialect_).worker_side, frames)
    if kind is Kind.WORKER_REQUEST:
        return WorkerRequest(envelope, body)
    return Heartbeat() if kind is Kind.HEARTBEAT_OUT else Disconnect()


# ---------------------------------------------------------------------------------------------- broker side


def decode_inbound(dialect_: str | Dialect, frames: Sequence[bytes]) -> Inbound:
    """A peer's message to the broker, without its identity frame. Raises ProtocolError."""
    kind, envelope, body = _unpack(dialect(dialect_).broker_side, frames)
    if kind is Kind.CLIENT_REQUEST:
        return ClientRequest(envelope, body)
    if kind is Kind.WORKER_READY:
        return WorkerReady(envelope)
    if kind is Kind.HEARTBEAT_IN:
        return Heartbeat()
    if kind is Kind.DISCONNECT_IN:
        return Disconnect()
    return WorkerReply(envelope, body, kind is Kind.WORKER_FINAL)


def encode_client_reply(
    dialect_: str | Dialect, service: str | bytes, body: Sequence[bytes], *, final: bool = True
) -> list[bytes]:
    """The broker's answer to a client. Raises UnsupportedMessage for a partial one in 0.1."""
    kind = Kind.CLIENT_FINAL if final else Kind.CLIENT_PARTIAL
    return _pack(dialect(dialect_), kind, as_name(service), body)


def encode_to_worker(dialect_: str | Dialect, message: ToWorker) -> list[bytes]:
    """Request, heartbeat or disconnect for a worker."""
    resolved = dialect(dialect_)
    if isinstance(message, WorkerRequest):
        return _pack(resolved, Kind.WORKER_REQUEST, message.client, message.body)
    kind = Kind.HEARTBEAT_OUT if isinstance(message, Heartbeat) else Kind.DISCONNECT_OUT
    return _pack(resolved, kind, None, ())
