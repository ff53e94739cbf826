"""The kernel's tables as bytes and texts: rows of sock_diag, text tables, classes of sockets, control groups, lines."""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.probe import sockdiag, sockets
from harness.probe.descriptors import EXAMPLES, MAX_PORTS, OTHER_PORTS, Tally, TcpClasses, _rowless
from harness.probe.sockdiag import CLOSE_WAIT, ESTABLISHED, LISTEN

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
HOST = bytes((10, 0, 0, 1)) + bytes(12)


def row(
    local: int, remote: int, *, state: int = ESTABLISHED, host: bytes = HOST, inode: int = 5
) -> sockdiag.Raw:
    return V4, state, local.to_bytes(2, "big"), remote.to_bytes(2, "big"), host, inode


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def diag(kind: int, one: sockdiag.Raw, extra: int = 0) -> bytes:
    """struct inet_diag_msg (include/uapi/linux/inet_diag.h), with attributes behind it."""
    family, state, local, remote, host, inode = one
    body = struct.pack(
        "=BBBB2s2s16s16sI8xIIIII", family, state, 0, 0, local, remote, bytes(16), host, 0, 0, 0, 0, 0, inode
    )
    return message(kind, body + bytes(extra))


@pytest.mark.parametrize("kind", [sockdiag.TCPDIAG_GETSOCK, sockdiag.SOCK_DIAG_BY_FAMILY])
@pytest.mark.parametrize("extra", [(0, 0, 0), (8, 8, 8), (0, 8, 4)])
def test_rows_of_a_dump_are_read_whatever_their_lengths(kind: int, extra: tuple[int, ...]) -> None:
    wanted = [row(80, 40_000 + n, inode=n) for n in range(3)]
    data = b"".join(diag(kind, one, more) for one, more in zip(wanted, extra, strict=True))
    found: list[sockdiag.Raw] = []
    assert sockdiag._parse(memoryview(data), found) is False
    assert found == wanted
    ended = data + message(sockdiag.NLMSG_DONE, bytes(4))
    found.clear()
    assert sockdiag._parse(memoryview(ended), found) is True
    assert found == wanted


def test_rows_of_another_request_are_passed_over() -> None:
    found: list[sockdiag.Raw] = []
    data = diag(99, row(1, 2)) + diag(sockdiag.TCPDIAG_GETSOCK, row(3, 4))
    assert sockdiag._parse(memoryview(data), found) is False
    assert found == [row(3, 4)]
    assert sockdiag._parse(memoryview(diag(99, row(1, 2)) * 2), found) is False
    assert len(found) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (message(sockdiag.NLMSG_ERROR, struct.pack("=i", -13)), "Permission denied"),
        (diag(sockdiag.TCPDIAG_GETSOCK, row(1, 2))[:-4], "damaged message"),
        (message(sockdiag.TCPDIAG_GETSOCK, bytes(8)), "damaged message"),
    ],
)
def test_a_refusal_and_a_damaged_message_are_errors(data: bytes, words: str) -> None:
    with pytest.raises(sockdiag.DiagError, match=words):
        sockdiag._parse(memoryview(data), [])


def test_the_error_has_the_number_of_the_kernel() -> None:
    with pytest.raises(sockdiag.DiagError) as refused:
        sockdiag._parse(memoryview(message(sockdiag.NLMSG_ERROR, struct.pack("=i", -13))), [])
    assert refused.value.errno == 13


class Channel:
    """A netlink socket with scripted datagrams; senders other than the kernel have another number than 0."""

    def __init__(self, *datagrams: tuple[int, bytes]) -> None:
        self.sent = b""
        self._datagrams = iter(datagrams)

    def send(self, data: bytes) -> None:
        self.sent += data

    def recvfrom(self, most: int) -> tuple[bytes, tuple[int, int]]:
        assert most == sockdiag.BUFFER
        sender, data = next(self._datagrams)
        return data, (sender, 0)


def test_only_the_kernel_is_believed() -> None:
    real, forged = diag(sockdiag.TCPDIAG_GETSOCK, row(1, 2)), diag(sockdiag.TCPDIAG_GETSOCK, row(6, 6))
    channel = Channel((7, forged), (0, real), (7, message(sockdiag.NLMSG_DONE, b"")), (0, real),
                      (0, message(sockdiag.NLMSG_DONE, bytes(4))))  # fmt: skip
    assert sockdiag.dump_tcp(channel, states=1 << LISTEN, local_port=8080) == [row(1, 2)] * 2  # type: ignore[arg-type]
    length, kind, flags, number, sender = struct.unpack_from("=IHHII", channel.sent)
    assert (length, kind, flags, number, sender) == (len(channel.sent), 18, 0x301, 1, 0)
    assert b"\x1f\x90\x00\x00" in channel.sent, "the port in network order, then any port"
    assert struct.pack("=I", 1 << LISTEN) in channel.sent


def test_udp_is_requested_by_family() -> None:
    channel = Channel((0, message(sockdiag.NLMSG_DONE, bytes(4))))
    assert sockdiag.dump_udp(channel, V6) == []  # type: ignore[arg-type]
    assert struct.unpack_from("=IHH", channel.sent)[1] == sockdiag.SOCK_DIAG_BY_FAMILY
    family, protocol, wanted, states = struct.unpack_from("=BBBxI", channel.sent, 16)
    assert (family, protocol, wanted, states) == (V6, 17, 0, 0xFFF & ~(1 << 3 | 1 << 6 | 1 << 12))
    assert len(channel.sent) == 16 + 56


def test_ports_and_addresses_are_written_as_people_do() -> None:
    assert sockdiag.port(b"\x1f\x90") == 8080
    assert sockdiag.address(V4, HOST) == "10.0.0.1"
    assert sockets.peer(row(1, 443)) == "10.0.0.1:443"
    assert sockets.peer((V6, 1, b"\0\1", b"\0\2", bytes(15) + b"\1", 3)) == "[::1]:2"


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
TCP = (
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x",
    "   1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 x",
)
TCP6 = (
    "   0: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:C001 08 0:0 0:0 0 0 0 4713 1 x",
)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A folder like /proc/PID: its descriptor, and the folder of its tables."""
    (tmp_path / "net").mkdir()
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield directory, tmp_path / "net"
    os.close(directory)


def refused(directory: int) -> Any:
    raise PermissionError(13, "no right to enter")


def test_text_tables_are_read_in_the_form_of_the_kernel(
    net: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, folder = net
    (folder / "tcp").write_text("\n".join((HEAD, *TCP)) + "\n")
    (folder / "tcp6").write_text("\n".join((HEAD, *TCP6)) + "\n")
    monkeypatch.setattr(sockets, "open_diag_in", refused)
    tables = sockets.Tables(directory, 9)
    assert tables.source == "/proc/9/net (no right to enter)"
    assert tables.tcp == {
        4711: (V4, 10, b"\x1f\x90", b"\0\0", bytes(4), 4711),
        4712: (V4, 1, b"\x1f\x90", b"\xc0\0", bytes((127, 0, 0, 1)), 4712),
        4713: (V6, 8, b"\x1f\x90", b"\xc0\1", bytes(15) + b"\1", 4713),
    }
    assert tables.listening == {b"\x1f\x90"}
    assert tables.shared() == set()


def test_a_port_of_eight_connections_is_served(
    net: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, folder = net
    monkeypatch.setattr(sockets, "open_diag_in", refused)
    for count, shared in ((7, set()), (8, {b"\x1f\x90"})):
        rows = [TCP[1].replace("4712", str(5000 + n)) for n in range(count)]
        (folder / "tcp").write_text("\n".join((HEAD, *rows)) + "\n")
        assert sockets.Tables(directory, 9).shared() == shared


def test_a_table_is_read_only_while_something_is_unexplained(
    net: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, folder = net
    monkeypatch.setattr(sockets, "open_diag_in", refused)
    read: list[str] = []
    original = sockets._lines
    monkeypatch.setattr(sockets, "_lines", lambda where, table: read.append(table) or original(where, table))
    (folder / "unix").write_text(
        "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 0 1 1 21 /run/x\n0: 2 0 0 1 1 22\n1 2 3 4 5 6\n"
        "a b c d e f g h\n"
    )
    (folder / "netlink").write_text("head\na 0 1 2 3 4 5 6 7 31\n")
    (folder / "packet").write_text("head\na 1 2 3 4 5 6 7 41\n")
    (folder / "udp").write_text(f"{HEAD}\n{TCP[1].replace('4712', '51')}\n")
    (folder / "raw").write_text(f"{HEAD}\n{TCP[1].replace('4712', '61')}\n")
    tables = sockets.Tables(directory, 9)
    read.clear()
    assert tables.explain([]) == {}
    assert read == []
    assert tables.explain([21, 22]) == {
        21: sockets.Row("unix", "/run/x"), 22: sockets.Row("unix", "unix without a name")}  # fmt: skip
    assert read == ["unix"]
    assert tables.explain([31, 41, 51, 61, 99]) == {
        31: sockets.Row("netlink", "netlink without a name"), 41: sockets.Row("packet", "packet without a name"),
        51: sockets.Row("udp", "127.0.0.1:49152"), 61: sockets.Row("raw", "127.0.0.1:49152"), 99: None,
    }  # fmt: skip


def test_a_table_that_is_absent_is_empty(net: tuple[int, Path]) -> None:
    assert sockets._lines(net[0], "none") == ()


def classes(
    rows: list[sockdiag.Raw | None], *, listening: tuple[int, ...] = (), shared: tuple[int, ...] = ()
) -> Any:
    of = TcpClasses(
        {one.to_bytes(2, "big") for one in listening}, {one.to_bytes(2, "big") for one in shared},
        (32768).to_bytes(2, "big"),
    )  # fmt: skip
    of.add(rows)
    tally, states = Tally(), Counter[str]()
    of.add_to(tally, states)
    return dict(tally.counts), tally.examples, dict(states)


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (row(8080, 40_000), "tcp-in"), (row(40_000, 8080), "tcp-out:8080"), (row(40_000, 40_001), "tcp-out:40001"),
        (row(8080, 32_768), "tcp-in"), (row(8080, 32_767), "tcp-out:32767"), (row(32_767, 40_000), "tcp-in"),
        (row(32_768, 40_000), "tcp-out:40000"), (row(8080, 443), "tcp-out:443"),
        (row(8080, 0, state=LISTEN), "tcp-listen"), (row(8080, 9, state=CLOSE_WAIT), "close-wait"),
    ],
)  # fmt: skip
def test_a_connection_is_inbound_by_its_ports(one: sockdiag.Raw, kind: str) -> None:
    assert classes([None, one])[0] == {kind: 1}


def test_a_port_that_is_listened_on_or_shared_is_served() -> None:
    assert classes([row(40_000, 80)], listening=(40_000,))[0] == {"tcp-in": 1}
    assert classes([row(40_000, 40_001)], shared=(40_000,))[0] == {"tcp-in": 1}
    assert classes([row(40_000, 80)], shared=(40_000,))[0] == {"tcp-out:80": 1}


def test_examples_are_the_first_that_differ_and_states_are_counted() -> None:
    hosts = [bytes((10, 0, 0, n)) + bytes(12) for n in (1, 1, 2, 3, 4)]
    out = [row(40_000 + n, 80, host=host) for n, host in enumerate(hosts)]
    served = [row(80, 40_000 + n % 2) for n in range(5)]
    listen = [row(90 + n, 0, state=LISTEN) for n in range(4)]
    counts, examples, states = classes([*out, *served, *listen, row(1, 2, state=CLOSE_WAIT)])
    assert counts == {"tcp-out:80": 5, "tcp-in": 5, "tcp-listen": 4, "close-wait": 1}
    assert examples["tcp-out:80"] == ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
    assert examples["tcp-in"] == ["10.0.0.1:40000", "10.0.0.1:40001"]
    assert examples["tcp-listen"] == [f"listens on port {90 + n}" for n in range(EXAMPLES)]
    assert states == {"established": 10, "listen": 4, "close-wait": 1}


def test_outbound_ports_beyond_the_most_are_one_class_the_rarest_first() -> None:
    rows = [row(40_000 + n, port) for port in range(1000, 1000 + MAX_PORTS + 2) for n in range(2)]
    counts, _, _ = classes([*rows, row(39_000, 9)])
    assert counts[OTHER_PORTS] == 2 + 2 + 1
    assert counts["tcp-out:1000"] == 2
    assert "tcp-out:9" not in counts
    assert len(counts) == MAX_PORTS + 1


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        ("UNIX-STREAM", "unix"), ("NETLINK", "netlink"), ("TCPv6", "rowless-socket"), ("UDP", "rowless-socket"),
        ("", "rowless-socket"), ("MPTCP", "mptcp"), ("AF_VSOCK", "vsock"), ("PINGv6", "rowless-socket"),
        ("TCPX", "tcpx"),
    ],
)  # fmt: skip
def test_a_socket_without_a_row_is_named_by_its_protocol(protocol: str, kind: str) -> None:
    assert _rowless(protocol)[0] == kind


def test_a_tally_keeps_three_examples_that_differ_and_cuts_them() -> None:
    tally = Tally()
    for text in ("a", "a", "b" * 200, "c", "d"):
        tally.add("file", text)
    tally.add("file", "e", 7)
    assert tally.counts == {"file": 12}
    assert tally.examples == {"file": ["a", "b" * 160, "c"]}
