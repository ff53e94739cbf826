"""Wait until the service answers, and say what it did instead."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from harness.core.errors import ConfigError, HarnessError, Interrupted, KeeperLost, PortTaken, TargetError

POLL = 0.05
TAKEN = re.compile(r"address already in use|EADDRINUSE|Address in use|\[Errno 98\]", re.IGNORECASE)


class Watched(Protocol):
    """What waiting needs of a target. logs: its log is ours to read, for it is a command that we started. lost: why
    its exit code cannot be known, such as a keeper that was killed."""

    logs: bool
    lost: str

    @property
    def alive(self) -> bool:
        """False once it has ended."""

    def poll(self) -> int | None:
        """Its return code, if known."""

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of its log."""


def check_url(url: str, name: str = "--url") -> None:
    """Raise ConfigError for anything but an absolute http(s) URL. name: of the option, for the error."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{name} {url!r}: {error}; expected http://HOST:PORT/PATH") from None
    if parts.username is not None:
        place = parts.netloc.rpartition("@")[2]
        raise ConfigError(
            f"{name}: a user in the URL of {place}; expected http://HOST:PORT/PATH, and "
            "--header 'Authorization: …', which is left out of the report"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{name} {url!r}: not an absolute URL; expected http://HOST:PORT/PATH")
    if "%" in parts.hostname:
        raise ConfigError(f"{name} {url!r}: an IPv6 zone; expected an address that needs none, such as [::1]")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(
            f"{name} {url!r}: expected ASCII without spaces: percent-encode the others (RFC 3986)"
        )
    if port == 0:
        raise ConfigError(f"{name} {url!r}: port 0; expected a port, or {{port}} to have one chosen")


def check_free(url: str) -> None:
    """Raise PortTaken when something listens at the URL already: the load would meet a stranger."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=1.0).close()
    except OSError:
        return
    raise PortTaken(
        f"port {port} is taken: something listens at {parts.netloc} before the service was started; expected a "
        "free port: stop it, or use {port} in --url and in the command"
    )


def last_words(target: Watched) -> str:
    """The last line of the target's log, as part of an error line; empty where there is no log to read."""
    if not target.logs:
        return ""
    tail = [line.strip() for line in target.tail() if line.strip()]
    return f"; its log ends: {tail[-1]}" if tail else "; its log is empty"


def connect(url: str, timeout: float, *, insecure: bool, ca: Path | None) -> http.client.HTTPConnection:
    """A connection that is not open yet, with the TLS that was asked for."""
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)


@contextlib.contextmanager
def bounded(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """TimeoutError once an open connection has been busy for so long: a socket's own timeout is for one recv(2) alone,
    and a head that comes byte by byte never meets it."""
    sock, cut = connection.sock, threading.Event()

    def end() -> None:
        cut.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError):
        if not cut.is_set():
            raise
    finally:
        timer.cancel()
    if cut.is_set():
        raise TimeoutError(f"no answer within {seconds:g} s")


def ended(target: Watched, port: int, seconds: float) -> HarnessError:
    """The error for a service that ended by itself before any load: PortTaken when its log says so, KeeperLost when it
    was the harness's own part that ended."""
    if target.lost:
        return keeper_lost(target.lost)
    code = target.poll()
    taken = next((line.strip() for line in target.tail() if TAKEN.search(line)), None)
    if taken is not None:
        return PortTaken(
            f"the service ended after {seconds:.1f} s because a port that it wants is taken: its log says "
            f"{taken[:200]}; expected its ports to be free: run it again, or stop what listens there"
        )
    if not target.logs:
        return TargetError("the process ended before the load began", advice="give the pid of one that stays")
    if code == 0:
        return TargetError(
            f"the service ended by itself after {seconds:.1f} s with exit code 0, before it was ready: perhaps it "
            f"forked into the background; expected it to stay in the foreground and listen on port {port}; "
            f"what it left running was stopped{last_words(target)}",
            advice="keep it in the foreground (often --foreground or --no-daemon), or start it yourself and give "
            "--attach-port PORT instead of a command",
        )
    how = (
        "with an unknown exit code"
        if code is None
        else f"with exit code {code}"
        if code > 0
        else f"by {signal_name(-code)}"
    )
    return TargetError(
        f"the service ended after {seconds:.1f} s {how}, before it was ready; expected it to stay in the "
        f"foreground and listen on port {port}{last_words(target)}",
        advice="run the command by hand and mend what its log says",
    )


def keeper_lost(why: str) -> KeeperLost:
    """The error for a service that was stopped because the process that keeps it was killed."""
    return KeeperLost(
        f"the service was stopped because {why}; expected the harness's own processes to be left alone: run it again, "
        "and look for an out-of-memory killer or a cleanup job on this machine"
    )


def signal_name(number: int) -> str:
    """``SIGSEGV``; ``signal 35`` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def wait_ready(
    url: str,
    target: Watched,
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    http_answer: bool = False,
    insecure: bool = False,
    ca: Path | None = None,
    listens: Callable[[], Sequence[str]] = tuple,
    cancelled: Callable[[], bool] = lambda: False,
) -> float:
    """Wait until the URL's port accepts, or with ``http_answer`` until it answers below 500.

    listens: the addresses at which the target listens, for the error when it is elsewhere.
    Returns the seconds it took. Raises TargetError when the target ends first or the time is up, PortTaken when
    it ends for want of a port, Interrupted once it is cancelled.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    start = clock()
    last, answered = "nothing listens there", False
    while True:
        if cancelled():
            raise Interrupted("stopped while the service was not ready yet")
        if not target.alive:
            raise ended(target, port, clock() - start)
        try:
            if http_answer:
                connection = connect(url, 1.0, insecure=insecure, ca=ca)
                try:
                    connection.connect()
                    with bounded(connection, 1.0):
                        connection.request("GET", parts.path or "/")
                        status = connection.getresponse().status
                finally:
                    connection.close()
                if status < 500:
                    return clock() - start
                answered, last = True, f"it answers {status}; expected a status below 500"
            else:
                socket.create_connection((host, port), timeout=1.0).close()
                return clock() - start
        except ConnectionRefusedError:
            answered, last = False, "nothing listens there"
        except (OSError, http.client.HTTPException) as error:
            last = str(error) or type(error).__name__
        if clock() - start > timeout:
            raise _never(url, target, timeout, last, () if answered else listens())
        time.sleep(POLL)


def _never(url: str, target: Watched, timeout: float, last: str, elsewhere: Sequence[str]) -> TargetError:
    """The error for a service that lives and does not answer where it was looked for."""
    what = f"the service was not ready after {timeout:g} s: {url}: {last}"
    if elsewhere:
        what += f"; it listens at {', '.join(elsewhere[:4])} instead"
    if not target.logs:
        advice = "give the pid and the --url of the same service"
    elif elsewhere:
        advice = (
            "let the command and --url name the same address: {port} in both, or the service's own in --url"
        )
    elif last.startswith("it answers"):
        advice = "see in its log what it waits for, or give another --ready URL or a longer --ready-timeout"
    else:
        advice = (
            "give it longer (--ready-timeout), or see in its log what it waits for; it is told its port by "
        )
        advice += "{port} in the command and by PORT in its environment"
    return TargetError(what + last_words(target), advice=advice)
