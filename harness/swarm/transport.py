"""The channel between a master and its workers, which replaces Locust's open TCP port.

Workers of this machine connect over a Unix socket (0600) in the run's private folder (0700). Workers of other
machines connect over TCP. Both sides of every connection prove that they know the secret of the run (ZeroMQ CURVE,
ZMTP RFC 26), and all messages are encrypted. The keys of both sides derive from the secret, so a remote worker needs
nothing else. A connection without the secret ends in the handshake: no message of it is read, and none is sent to it.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sys
from types import SimpleNamespace
from typing import Any

import gevent
import locust.runners
import zmq.green as zmq
from locust.exception import RPCError, RPCReceiveError
from locust.rpc.zmqrpc import BaseSocket
from zmq.utils import z85

from harness.core.errors import SwarmError
from harness.swarm.setup import SECRET_VARIABLE

DOMAIN = b"harness"
ZAP = "inproc://zeromq.zap.01"  # where libzmq asks whether a peer's key is known (ZAP, ZeroMQ RFC 27)
MAX_MESSAGE = 64 << 20  # bytes
HANDSHAKE = 5_000  # milliseconds
KEEPALIVE_IDLE = 30  # seconds, as in Locust's own sockets


def new_secret() -> str:
    """A secret for one run: 256 random bits."""
    return secrets.token_urlsafe(32)


def keys(secret: str, role: str) -> tuple[bytes, bytes]:
    """Public and secret CURVE key of a role ("master" or "worker"), as Z85 text."""
    private = z85.encode(hmac.digest(secret.encode(), role.encode(), "sha256"))
    return zmq.curve_public(private), private


class Server(BaseSocket):
    """The master's socket. Raises RPCError when an endpoint cannot be bound, SwarmError without CURVE.

    endpoints: ``ipc://PATH`` or ``tcp://HOST:PORT``; port 0 takes any. port: the TCP port, 0 without one.
    """

    def __init__(self, endpoints: list[str], secret: str) -> None:
        _check_curve()
        # A context of its own, because ZAP requests go to one socket for the whole context (ZeroMQ RFC 27).
        context = zmq.Context()
        self._known = keys(secret, "worker")[0]
        # Before the first peer: without an answer here, libzmq would accept every key.
        self._zap = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(ZAP)
        self._answering = gevent.spawn(self._answer)
        self.socket = context.socket(zmq.ROUTER)
        _keep_alive(self.socket, endpoints)
        # Encrypts, and admits only peers whose key the ZAP socket above accepts.
        self.socket.curve_server = True
        self.socket.curve_secretkey = keys(secret, "master")[1]
        self.socket.zap_domain = DOMAIN
        self.socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self.socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE)
        self.socket.maxmsgsize = MAX_MESSAGE
        self.port = 0
        for endpoint in endpoints:
            # libzmq creates the socket file of an ipc endpoint with what the umask leaves: mode 0600.
            before = os.umask(0o177)
            try:
                self.socket.bind(endpoint)
            except zmq.ZMQError as error:
                self.close(linger=0)
                raise RPCError(f"cannot listen: {error.strerror}") from None
            finally:
                os.umask(before)
            bound = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
            if bound.startswith("tcp://"):
                self.port = int(bound.rpartition(":")[2])

    def _answer(self) -> None:
        """Answer libzmq's questions (ZAP): only the key that derives from the secret is known."""
        while True:
            version, request, _domain, _address, _identity, mechanism, *credentials = (
                self._zap.recv_multipart()
            )
            known = mechanism == b"CURVE" and len(credentials) == 1
            # In constant time, so that the time of the answer reveals nothing about the key.
            known = known and hmac.compare_digest(z85.encode(credentials[0]), self._known)
            verdict = (b"200", b"OK") if known else (b"400", b"unknown key")
            self._zap.send_multipart([version, request, *verdict, b"", b""])

    def recv_from_client(self) -> tuple[str, Any]:
        """The next message. A worker can send messages only in its own name. Raises RPCError, as Locust expects it."""
        client, message = super().recv_from_client()  # type: ignore[no-untyped-call]
        if message.node_id != client:
            raise RPCReceiveError(f"a message in the name of {str(message.node_id)[:64]!r}", addr=None)
        return client, message

    def close(self, linger: int | None = None) -> None:
        """Locust calls this before it listens again."""
        self.socket.close(linger=linger)
        self._answering.kill()
        self._zap.close()


class Client(BaseSocket):
    """A worker's socket."""

    def __init__(self, endpoint: str, secret: str, identity: str) -> None:
        _check_curve()
        self.socket = zmq.Context().socket(zmq.DEALER)
        _keep_alive(self.socket, [endpoint])
        self.socket.curve_serverkey = keys(secret, "master")[0]
        self.socket.curve_publickey, self.socket.curve_secretkey = keys(secret, "worker")
        self.socket.maxmsgsize = MAX_MESSAGE
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        self.socket.connect(endpoint)


def install(endpoints: list[str], secret: str) -> None:
    """Make Locust's runners use these sockets; the hosts and ports that Locust passes are ignored."""
    # Locust's runners make their sockets with ``rpc.Server`` and ``rpc.Client`` of this module.
    locust.runners.rpc = SimpleNamespace(  # type: ignore[attr-defined, assignment]
        Server=lambda _host, _port: Server(endpoints, secret),
        Client=lambda _host, _port, identity: Client(endpoints[0], secret, identity),
    )


def _keep_alive(socket: Any, endpoints: list[str]) -> None:
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE)
    if any("[" in endpoint for endpoint in endpoints):
        socket.setsockopt(zmq.IPV6, 1)


def _check_curve() -> None:
    if not zmq.has("curve"):
        raise SwarmError(
            "this libzmq has no CURVE encryption, so that workers cannot prove who they are; expected a pyzmq with "
            "libsodium, as its wheels have it; or use one process"
        )


def secure_forks() -> None:
    """Make plain Locust use these sockets between a master and the workers that it forks (``locust --processes``),
    and wherever HARNESS_SWARM_SECRET is set. Call this before the fork: the processes inherit the secret. A master
    and workers that are started without a secret use Locust's own sockets."""
    plain = locust.runners.rpc  # type: ignore[attr-defined]
    given = os.environ.get(SECRET_VARIABLE, "")
    secret = given or new_secret()
    forked: list[bool] = []
    decided: list[bool] = []
    os.register_at_fork(
        after_in_parent=lambda: forked.append(True), after_in_child=lambda: forked.append(True)
    )

    def is_secured() -> bool:
        # Decided once, when the runner is made: later forks are other children.
        if not decided:
            by_hand = "--worker" in sys.argv or bool(os.environ.get("LOCUST_MODE_WORKER"))
            decided.append(bool(given) or (bool(forked) and not by_hand))
        return decided[0]

    def server(host: str, port: int) -> Any:
        if not is_secured():
            return plain.Server(host, port)
        try:
            return Server([_tcp(host if given or host != "*" else "127.0.0.1", port)], secret)
        except RPCError as error:  # Locust recognises a taken port by this text
            raise RPCError(str(error).replace("cannot listen", "Socket bind failure")) from None

    def client(host: str, port: int, identity: str) -> Any:
        return (
            Client(_tcp(host, port), secret, identity) if is_secured() else plain.Client(host, port, identity)
        )

    locust.runners.rpc = SimpleNamespace(Server=server, Client=client)  # type: ignore[attr-defined, assignment]


def _tcp(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
