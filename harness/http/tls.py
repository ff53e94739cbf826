"""TLS without a socket: converts ciphertext to plaintext and back.

With memory BIOs (ssl.MemoryBIO) the stream keeps its one watcher on a raw descriptor; gevent's own
TLS socket would need a greenlet to wait in.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from harness.core.errors import ConfigError, OptionError
from harness.http.causes import CERTIFICATE, TLS
from harness.process.read import read_bounded

READ = 64 * 1024  # bytes of plaintext asked for at once; a record has 16 KiB at most (RFC 8446, 5.1)
MAX_CA = 16 << 20  # bytes of a file of certificates
PEM = "a PEM file with certificates"


def tls_context(*, insecure: bool, ca: Path | None) -> ssl.SSLContext:
    """Verification is on unless ``insecure``; ``ca``: a PEM file of authorities. Raises ConfigError."""
    # The file is read here, because OpenSSL would read a device or a pipe for ever.
    try:
        data = read_bounded(ca, MAX_CA, option="", expected=PEM) if ca else None
    except ConfigError as error:
        raise OptionError("ca", str(ca), str(error).removeprefix(": ")) from None
    try:
        context = ssl.create_default_context(cadata=None if data is None else data.decode("ascii", "ignore"))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise OptionError("ca", str(ca), f"{error}; expected {PEM}") from None
    if insecure:
        # In this order: the ssl module refuses CERT_NONE while names are checked.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Otherwise a server that prefers HTTP/2 could use it, which the parser cannot read.
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsFailure(Exception):
    """The handshake or a record failed; ``cause`` is one of the causes of a failed stream."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class TlsLayer:
    """One client connection. Every method returns the bytes that must now be sent."""

    __slots__ = ("_in", "_object", "_out", "ended", "ready")

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=name)
        self.ready = False
        self.ended = False  # the peer has sent close_notify

    def start(self) -> bytes:
        """The client's hello."""
        self._handshake()
        return self._out.read()

    def _handshake(self) -> None:
        try:
            self._object.do_handshake()
            self.ready = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            raise TlsFailure(CERTIFICATE, error.verify_message) from None
        except ssl.SSLError as error:
            raise TlsFailure(TLS, error.reason or str(error)) from None

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Ciphertext in; plaintext, and what must be sent, out."""
        self._in.write(data)
        if not self.ready:
            self._handshake()
        pieces = []
        try:
            # One read(2) of ciphertext may hold several records, and OpenSSL returns one record a call.
            while self.ready and (piece := self._object.read(READ)):
                pieces.append(piece)
            # The loop ends without an exception only at the end of the plaintext. Before the handshake it does not
            # run.
            self.ended = self.ready
        except ssl.SSLWantReadError:
            # The last record is incomplete: the rest of it arrives with the next bytes.
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise TlsFailure(TLS, error.reason or str(error)) from None
        return b"".join(pieces), self._out.read()

    def send(self, data: bytes) -> bytes:
        """Plaintext in, ciphertext out. Only once ``ready``."""
        self._object.write(data)
        return self._out.read()

    def close(self) -> bytes:
        """The close_notify, which marks an orderly end of the connection (RFC 8446, 6.1)."""
        try:
            self._object.unwrap()
        # The peer has not sent its own close_notify yet, which a closing client need not wait for (RFC 8446, 6.1).
        except (ssl.SSLError, ValueError):
            pass
        return self._out.read()
