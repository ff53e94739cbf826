"""The four Majordomo dialects, one table each. Everything in which they differ lives here.

Sources: ZeroMQ RFC 7 (MDP/0.1) and RFC 18 (MDP/0.2), the published source of plantd (``core/mdp``) and of the
PyPI package ``majortomo`` 0.2.0. The dialects disagree on the empty delimiter frame, on commands and on whether
a reply names its service:

==================  ======================  =====================  ==============================  ==============
message             0.1                     0.2                    plantd                          majortomo
==================  ======================  =====================  ==============================  ==============
client request      ∅ MDPC01 svc body+      MDPC02 01 svc body+    ∅ MDPC02 REQUEST svc body*      ∅ … 02 svc body*
client partial      –                       MDPC02 02 svc body+    MDPC02 PARTIAL svc body*        ∅ … 03 body*
client final        ∅ MDPC01 svc body+      MDPC02 03 svc body+    MDPC02 FINAL svc body*          ∅ … 04 body*
worker ready        ∅ MDPW01 01 svc         MDPW02 01 svc          ∅ MDPW02 READY svc              ∅ … 01 svc
worker request      ∅ MDPW01 02 addr ∅ …    MDPW02 02 addr ∅ …     MDPW02 REQUEST addr ∅ body+     ∅ … 02 addr ∅ …
worker partial      –                       MDPW02 03 addr ∅ …     ∅ MDPW02 PARTIAL addr body*     ∅ … 03 addr ∅ …
worker final        ∅ MDPW01 03 addr ∅ …    MDPW02 04 addr ∅ …     ∅ MDPW02 FINAL addr body*       ∅ … 04 addr ∅ …
heartbeat           ∅ MDPW01 04             MDPW02 05              ∅ only towards the broker       ∅ … 05
disconnect          ∅ MDPW01 05             MDPW02 06              ∅ only towards the broker       ∅ … 06
==================  ======================  =====================  ==============================  ==============
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType


class Kind(Enum):
    """One row of the table: a message in one direction."""

    CLIENT_REQUEST = auto()
    CLIENT_PARTIAL = auto()
    CLIENT_FINAL = auto()
    WORKER_READY = auto()
    WORKER_REQUEST = auto()
    WORKER_PARTIAL = auto()
    WORKER_FINAL = auto()
    HEARTBEAT_IN = auto()
    HEARTBEAT_OUT = auto()
    DISCONNECT_IN = auto()
    DISCONNECT_OUT = auto()


INBOUND_KINDS = (
    Kind.CLIENT_REQUEST,
    Kind.WORKER_READY,
    Kind.WORKER_PARTIAL,
    Kind.WORKER_FINAL,
    Kind.HEARTBEAT_IN,
    Kind.DISCONNECT_IN,
)
CLIENT_KINDS = (Kind.CLIENT_PARTIAL, Kind.CLIENT_FINAL)
WORKER_KINDS = (Kind.WORKER_REQUEST, Kind.HEARTBEAT_OUT, Kind.DISCONNECT_OUT)


class Envelope(Enum):
    """The frames between command and body."""

    NONE = auto()
    SERVICE = auto()
    ADDRESS = auto()
    """addr alone; an empty frame after it is skipped, as in plantd's broker."""
    ADDRESS_EMPTY = auto()


class Body(Enum):
    """How many frames may follow the envelope: none, any number, or at least one."""

    NONE = auto()
    ANY = auto()
    SOME = auto()


@dataclass(frozen=True, slots=True)
class Layout:
    """Frames of one message: [∅] header [command] [envelope] body."""

    delimiter: bool
    header: bytes
    command: bytes | None
    envelope: Envelope
    body: Body


Table = Mapping[bytes, Mapping[bytes | None, tuple[Kind, Layout]]]
"""What one side may receive: header → command → layout. A dialect without commands uses None."""


class Dialect:
    """A table of layouts under a name, with the look-ups for each receiving side made once."""

    __slots__ = ("broker_side", "client_side", "layouts", "name", "worker_side")

    def __init__(self, name: str, layouts: Mapping[Kind, Layout]) -> None:
        self.name = name
        self.layouts = MappingProxyType(dict(layouts))
        self.broker_side = self._side(INBOUND_KINDS)
        self.client_side = self._side(CLIENT_KINDS)
        self.worker_side = self._side(WORKER_KINDS)

    def _side(self, kinds: Sequence[Kind]) -> dict[bytes, dict[bytes | None, tuple[Kind, Layout]]]:
        """The table of what one side may receive. kinds: of these messages, those that the dialect has."""
        table: dict[bytes, dict[bytes | None, tuple[Kind, Layout]]] = {}
        for kind in kinds:
            if kind in self.layouts:
                layout = self.layouts[kind]
                table.setdefault(layout.header, {})[layout.command] = (kind, layout)
        return table

    @property
    def names_service(self) -> bool:
        """Whether a reply to a client names its service; majortomo's do not."""
        return self.layouts[Kind.CLIENT_FINAL].envelope is Envelope.SERVICE

    def __repr__(self) -> str:
        return f"<Dialect {self.name}>"

    @property
    def has_partial(self) -> bool:
        """False for 0.1, which has only final replies."""
        return Kind.CLIENT_PARTIAL in self.layouts


def _worker_rows(header: bytes, commands: Mapping[str, bytes], delimiter: bool) -> dict[Kind, Layout]:
    """Worker rows shared by all dialects but plantd. delimiter: whether the messages start with an empty frame."""
    addressed = (Envelope.ADDRESS_EMPTY, Body.SOME)
    rows = {
        Kind.WORKER_READY: Layout(delimiter, header, commands["ready"], Envelope.SERVICE, Body.NONE),
        Kind.WORKER_REQUEST: Layout(delimiter, header, commands["request"], *addressed),
        Kind.WORKER_FINAL: Layout(delimiter, header, commands["final"], *addressed),
        Kind.HEARTBEAT_IN: Layout(delimiter, header, commands["heartbeat"], Envelope.NONE, Body.NONE),
        Kind.HEARTBEAT_OUT: Layout(delimiter, header, commands["heartbeat"], Envelope.NONE, Body.NONE),
        Kind.DISCONNECT_IN: Layout(delimiter, header, commands["disconnect"], Envelope.NONE, Body.NONE),
        Kind.DISCONNECT_OUT: Layout(delimiter, header, commands["disconnect"], Envelope.NONE, Body.NONE),
    }
    if "partial" in commands:
        rows[Kind.WORKER_PARTIAL] = Layout(delimiter, header, commands["partial"], *addressed)
    return rows


_COMMANDS_1 = {
    "ready": b"\x01",
    "request": b"\x02",
    "final": b"\x03",
    "heartbeat": b"\x04",
    "disconnect": b"\x05",
}
_COMMANDS_2 = {
    "ready": b"\x01",
    "request": b"\x02",
    "partial": b"\x03",
    "final": b"\x04",
    "heartbeat": b"\x05",
    "disconnect": b"\x06",
}

MDP_01 = Dialect(
    "0.1",
    {
        Kind.CLIENT_REQUEST: Layout(True, b"MDPC01", None, Envelope.SERVICE, Body.SOME),
        Kind.CLIENT_FINAL: Layout(True, b"MDPC01", None, Envelope.SERVICE, Body.SOME),
        **_worker_rows(b"MDPW01", _COMMANDS_1, True),
    },
)
MDP_02 = Dialect(
    "0.2",
    {
        Kind.CLIENT_REQUEST: Layout(False, b"MDPC02", b"\x01", Envelope.SERVICE, Body.SOME),
        Kind.CLIENT_PARTIAL: Layout(False, b"MDPC02", b"\x02", Envelope.SERVICE, Body.SOME),
        Kind.CLIENT_FINAL: Layout(False, b"MDPC02", b"\x03", Envelope.SERVICE, Body.SOME),
        **_worker_rows(b"MDPW02", _COMMANDS_2, False),
    },
)
PLANTD = Dialect(
    "plantd",
    {
        Kind.CLIENT_REQUEST: Layout(True, b"MDPC02", b"REQUEST", Envelope.SERVICE, Body.ANY),
        Kind.CLIENT_PARTIAL: Layout(False, b"MDPC02", b"PARTIAL", Envelope.SERVICE, Body.ANY),
        Kind.CLIENT_FINAL: Layout(False, b"MDPC02", b"FINAL", Envelope.SERVICE, Body.ANY),
        Kind.WORKER_READY: Layout(True, b"MDPW02", b"READY", Envelope.SERVICE, Body.NONE),
        Kind.WORKER_REQUEST: Layout(False, b"MDPW02", b"REQUEST", Envelope.ADDRESS_EMPTY, Body.SOME),
        Kind.WORKER_PARTIAL: Layout(True, b"MDPW02", b"PARTIAL", Envelope.ADDRESS, Body.ANY),
        Kind.WORKER_FINAL: Layout(True, b"MDPW02", b"FINAL", Envelope.ADDRESS, Body.ANY),
        Kind.HEARTBEAT_IN: Layout(True, b"MDPW02", b"HEARTBEAT", Envelope.NONE, Body.NONE),
        Kind.HEARTBEAT_OUT: Layout(False, b"MDPW02", b"HEARTBEAT", Envelope.NONE, Body.NONE),
        Kind.DISCONNECT_IN: Layout(True, b"MDPW02", b"DISCONNECT", Envelope.NONE, Body.NONE),
        Kind.DISCONNECT_OUT: Layout(False, b"MDPW02", b"DISCONNECT", Envelope.NONE, Body.NONE),
    },
)
MAJORTOMO = Dialect(
    "majortomo",
    {
        Kind.CLIENT_REQUEST: Layout(True, b"MDPC02", b"\x02", Envelope.SERVICE, Body.ANY),
        Kind.CLIENT_PARTIAL: Layout(True, b"MDPC02", b"\x03", Envelope.NONE, Body.ANY),
        Kind.CLIENT_FINAL: Layout(True, b"MDPC02", b"\x04", Envelope.NONE, Body.ANY),
        **_worker_rows(b"MDPW02", _COMMANDS_2, True),
    },
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType({d.name: d for d in (PLANTD, MDP_01, MDP_02, MAJORTOMO)})


def dialect(name: str | Dialect) -> Dialect:
    """The dialect of that name. Raises ValueError that lists the names there are."""
    if isinstance(name, Dialect):
        return name
    try:
        return DIALECTS[name]
    except KeyError:
        raise ValueError(f"unknown dialect {name!r}: expected one of {', '.join(DIALECTS)}") from None
