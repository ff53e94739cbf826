"""Reads the kernel's socket tables over netlink (sock_diag(7)), filtered by port and state in the kernel.

This is ten times cheaper than parsing ``/proc/net/tcp``, and works in any network namespace that may be entered.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

NETLINK_SOCK_DIAG = 4  # include/uapi/linux/netlink.h
TCPDIAG_GETSOCK = 18  # the older request: one walk gives both families (inet_diag_dump_compat)
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
_ROWS = (TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY)  # a row has the number of the request
NLMSG_ERROR, NLMSG_DONE = 2, 3
BUFFER = 1 << 18  # bytes of one recv(2): the kernel fills a datagram with as many rows as fit
TIMEOUT = 5.0  # seconds; the kernel answers at once or not at all

# include/net/tcp_states.h
TCP_STATES = {
    1: "established", 2: "syn-sent", 3: "syn-recv", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait",
    7: "close", 8: "close-wait", 9: "last-ack", 10: "listen", 11: "closing", 12: "new-syn-recv",
}  # fmt: skip
ESTABLISHED, TIME_WAIT, CLOSE_WAIT, LISTEN = 1, 6, 8, 10
# Rows of these states belong to no descriptor: a busy server has thousands of them.
OWNERLESS = 1 << 3 | 1 << TIME_WAIT | 1 << 12
OWNED = 0xFFF & ~OWNERLESS

# struct nlmsghdr, then struct inet_diag_msg (include/uapi/linux/inet_diag.h), what is not needed skipped:
# family, state, source port, destination port, destination address, inode
_MESSAGE = struct.Struct("=16xBB2x2s2s16x16s12x16xI")
_SIZE = _MESSAGE.size
_PORT = struct.Struct("!H")

if TYPE_CHECKING:
    # One row as the kernel has it: family, state, local port, remote port, remote address, inode.
    Raw = tuple[int, int, bytes, bytes, bytes, int]


class DiagError(OSError):
    """The kernel refused, or its answer is incomplete: read the text tables instead."""


def open_diag() -> socket.socket:
    """A netlink socket of the calling thread's network namespace. Raises OSError where there is none."""
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    try:
        channel.settimeout(TIMEOUT)
        # The kernel may send rows faster than they are parsed, and drops those that do not fit (netlink(7)).
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * BUFFER)
        channel.bind((0, 0))
    except BaseException:
        channel.close()
        raise
    return channel


def _request(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body


def dump_tcp(channel: socket.socket, *, states: int = OWNED, local_port: int = 0) -> list[Raw]:
    """Every TCP row of both families in one of ``states`` (a bit mask), from ``local_port`` or any (0).
    Raises OSError; DiagError when the kernel refuses."""
    # struct inet_diag_req (include/uapi/linux/inet_diag.h), whose family a dump does not look at: the ports, then
    # addresses, interface and cookie of a single socket, which stay zero.
    identity = struct.pack("!HH", local_port, 0) + bytes(44)
    body = struct.pack("=Bxxx", socket.AF_INET) + identity + struct.pack("=II", states, 0)
    return _dump(channel, _request(TCPDIAG_GETSOCK, body))


def dump_udp(channel: socket.socket, family: int) -> list[Raw]:
    """Every UDP row of ``family`` (AF_INET, AF_INET6). Raises OSError; DiagError when the kernel refuses."""
    # struct inet_diag_req_v2: family, protocol, extensions and states, then the identity of a single socket, which
    # stays zero.
    body = struct.pack("=BBBxI", family, socket.IPPROTO_UDP, 0, OWNED) + bytes(48)
    return _dump(channel, _request(SOCK_DIAG_BY_FAMILY, body))


def _dump(channel: socket.socket, request: bytes) -> list[Raw]:
    channel.send(request)
    rows: list[Raw] = []
    done = False
    while not done:
        data, sender = channel.recvfrom(BUFFER)
        if sender[0] == 0:  # from the kernel; messages of other senders are ignored
            done = _parse(memoryview(data), rows)
    return rows


def _parse(view: memoryview, rows: list[Raw]) -> bool:
    """Append the rows of one datagram; True when it ends the dump."""
    length, _ = struct.unpack_from("=IH", view)
    if length >= _SIZE and length % 4 == 0 and len(view) % length == 0:
        # Rows of a dump almost always have the same length; then one call of struct reads them all.
        heads = set(struct.Struct(f"=IH{length - 6}x").iter_unpack(view))
        if len(heads) == 1 and heads.pop()[1] in _ROWS:
            rows.extend(struct.Struct(f"{_MESSAGE.format}{length - _SIZE}x").iter_unpack(view))
            return False
    at = 0
    while at + 16 <= len(view):
        length, kind = struct.unpack_from("=IH", view, at)
        if kind == NLMSG_DONE:
            return True
        if kind == NLMSG_ERROR:
            # The error is a negative errno after the 16 bytes of the header (netlink(7)).
            code = -struct.unpack_from("=i", view, at + 16)[0]
            raise DiagError(code, f"sock_diag: {os.strerror(code)}")
        if length < _SIZE or at + length > len(view):
            raise DiagError(0, "sock_diag: damaged message")
        if kind in _ROWS:
            rows.append(_MESSAGE.unpack_from(view, at))
        # Messages are aligned to four bytes (NLMSG_ALIGN).
        at += (length + 3) & ~3
    return False


def port(raw: bytes) -> int:
    """A port as the kernel sends it."""
    number: int = _PORT.unpack(raw)[0]
    return number


def address(family: int, raw: bytes) -> str:
    """An address as people write it."""
    return socket.inet_ntop(family, raw[:4] if family == socket.AF_INET else raw)
