"""Waits until the service is ready, and describes what it did instead."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from harness.core.errors import (
    ConfigError,
    HarnessError,
    Interrupted,
    OptionError,
    PortTaken,
    ProbeError,
    SupervisorLost,
    TargetError,
)
from harness.http import causes
from harness.http.client import Client, RequestFailed, check_accepts
from harness.http.endpoint import Endpoint
from harness.http.redirect import RedirectRefused
from harness.http.request import Request
from harness.http.route import Router

LOOPBACK = "127.0.0.1"
LOOPBACK_TIMEOUT = 2.0  # seconds
NOBODY = "nothing listens there"
POLL = 0.05  # seconds between two attempts
PORT_IN_USE = re.compile(r"address already in use|EADDRINUSE|Address in use|\[Errno 98\]", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{2}")


class Watched(Protocol):
    """The interface of a target that is waited for. logs: whether the harness started it and can read its log. lost:
    why its exit code cannot be known, such as a supervisor that was killed."""

    logs: bool
    lost: str

    @property
    def alive(self) -> bool:
        """False once it has exited."""

    def poll(self) -> int | None:
        """Its return code, if known."""

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of its log."""


def check_url(url: str, name: str = "url", written: str = "") -> Endpoint:
    """The endpoint of an absolute URL. name: of the option, for the error. written: how the user wrote it, with {port}.

    Raises ConfigError for an invalid URL, and for a network interface that this machine lacks.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise OptionError(
            name,
            (written or url)[:200],
            "expected ASCII without spaces: percent-encode the others (RFC 3986)",
        )
    if not re.match(r"[^:/?#]+://[^/?#]", url):
        raise OptionError(name, (written or url)[:200], "not an absolute URL; expected http://HOST:PORT/PATH")
    try:
        endpoint = Endpoint.parse(url)
        # An IPv6 address may name an interface, which must exist here.
        if ":" in endpoint.host:
            Router().route(endpoint)  # a literal address: no name is looked up
    except ConfigError as error:
        raise OptionError(name, None, str(error)) from None
    return endpoint


def check_loopback(url: str) -> None:
    """Raise ProbeError when ``url`` is on the loopback interface and that interface is down."""
    host = urlsplit(url).hostname or ""
    if not (host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")):
        return
    try:
        with socket.socket() as listener:
            listener.bind((LOOPBACK, 0))
            listener.listen(1)
            socket.create_connection(listener.getsockname(), timeout=LOOPBACK_TIMEOUT).close()
    except OSError as error:
        raise ProbeError(
            f"the loopback interface does not work: {LOOPBACK}: {error.strerror or error}; bring it up: "
            "ip link set lo up"
        ) from None


def check_free(url: str) -> None:
    """Raise PortTaken when something listens at the URL already: the load would reach another service."""
    endpoint = Endpoint.parse(url)
    try:
        check_accepts(Router(), endpoint)
    except (OSError, ConfigError):
        return
    where = f"at {endpoint.authority} " if not endpoint.unix else ""
    raise PortTaken(
        f"{endpoint.place} is taken: something listens {where}before the service was started; expected a "
        "free port: stop it, or use {port} in --url and in the command"
    )


def last_lines(target: Watched) -> str:
    """The last line of words of the target's log, as part of an error line; empty where there is no log to read. A
    bracket that closes a quoted traceback has no words."""
    if not target.logs:
        return ""
    tail = [line.strip() for line in target.tail() if _WORD.search(line)]
    return f"; its log ends: {tail[-1]}" if tail else "; its log is empty"


def exit_error(target: Watched, place: str, seconds: float) -> HarnessError:
    """The error for a service that exited before any load: PortTaken when its log says so, SupervisorLost when the
    harness's own part exited. place: where the service was to listen, in words: ``port 8000``."""
    if target.lost:
        return supervisor_lost(target.lost)
    code = target.poll()
    # The harness chose a port that was free, but the service may bind others, and another process may have been faster.
    taken = next((line.strip() for line in target.tail() if PORT_IN_USE.search(line)), None)
    if taken is not None:
        return PortTaken(
            f"the service exited after {seconds:.1f} s because a port that it needs is taken: its log says "
            f"{taken[:200]}; expected its ports to be free: run it again, or stop what listens there"
        )
    if not target.logs:
        return TargetError(
            "the process exited before the load began", advice="pass the pid of a process that keeps running"
        )
    if code == 0:
        return TargetError(
            f"the service exited by itself after {seconds:.1f} s with exit code 0, before it was ready: perhaps it "
            f"forked into the background; expected it to stay in the foreground and listen on {place}; "
            f"what it left running was stopped{last_lines(target)}",
            advice="keep it in the foreground (often --foreground or --no-daemon), or start it yourself and pass "
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
        f"the service exited after {seconds:.1f} s {how}, before it was ready; expected it to stay in the "
        f"foreground and listen on {place}{last_lines(target)}",
        advice="run the command yourself and fix what its log reports",
    )


def supervisor_lost(why: str) -> SupervisorLost:
    """The error for a service that was stopped because its supervisor was killed."""
    return SupervisorLost(
        f"the service was stopped because {why}; run it again, and look for an out-of-memory "
        "killer or a cleanup job on this machine, which may kill the harness's own processes"
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
    router: Router | None = None,
    listens: Callable[[], Sequence[str]] = tuple,
    cancelled: Callable[[], bool] = lambda: False,
) -> float:
    """Wait until the URL's port or socket accepts, or with ``http_answer`` until it answers below 500, after
    redirects.

    listens: the addresses at which the target listens, for the error when that is another one. Returns the seconds it
    took. Raises TargetError when the target exits first, when the time is up, or when it redirects to an invalid URL;
    PortTaken when it exits because a port is taken; Interrupted once cancelled.
    """
    endpoint = Endpoint.parse(url)
    router = router or Router()
    client = Client(router, timeout=1.0)
    request = Request(endpoint, streaming=False)
    start = clock()
    # last: why it is not ready. answered: something answered at the URL, so it listens nowhere else. failing: the
    # status of an error that it answered with.
    last, answered, failing = NOBODY, False, 0
    while True:
        if cancelled():
            raise Interrupted("stopped while the service was not ready yet")
        if not target.alive:
            raise exit_error(target, endpoint.place, clock() - start)
        try:
            failing = 0
            if http_answer:
                with client.open(request) as response:
                    status = response.status
                # A 404 or 401 comes from a service that is up; only errors of its own, as during a start, mean that it
                # is not.
                if status < 500:
                    return clock() - start
                answered, failing = True, status
                last = f"it answers {status}; expected a status below 500"
            else:
                check_accepts(router, endpoint)
                return clock() - start
        except RedirectRefused as error:
            raise TargetError(
                f"the service is not ready: {endpoint.url} {error}", advice="pass the final URL to --ready"
            ) from None
        except RequestFailed as error:
            # For a Unix socket "nothing listens yet" is also a path that does not exist yet.
            refused = error.cause == causes.REFUSED or (endpoint.unix and error.cause == causes.UNREACHABLE)
            last, answered = NOBODY if refused else str(error), False
            if error.endpoint.url != endpoint.url:
                answered = True
                last = f"it redirects to {error.endpoint.url}: {error}"
        except (ConnectionRefusedError, FileNotFoundError):
            answered, last = False, NOBODY
        except (OSError, ConfigError) as error:
            last = str(error) or type(error).__name__
        if clock() - start > timeout:
            raise _not_ready_error(
                endpoint.url, target, timeout, last, () if answered else listens(), failing=failing
            )
        time.sleep(POLL)


def _not_ready_error(
    url: str, target: Watched, timeout: float, last: str, elsewhere: Sequence[str], *, failing: int
) -> TargetError:
    """The error for a service that runs but does not answer at its URL, or only with errors. failing: the status of the
    last one; 0 for none."""
    what = f"the service was not ready after {timeout:.3g} s: {url}: {last}"
    if elsewhere:
        what += f"; it listens at {', '.join(elsewhere[:4])} instead"
    if not target.logs:
        advice = "pass the pid and the --url of the same service"
    elif elsewhere:
        advice = (
            "use the same address in the command and in --url: {port} in both, or the service's own in --url"
        )
    elif failing:
        advice = (
            "check its log for what it is waiting for, or pass another --ready URL or a longer --ready-timeout; "
            f"to guard this response itself, leave out --ready and pass --expect {failing}"
        )
    else:
        advice = "increase --ready-timeout, or check its log for what it is waiting for; it must listen on the port "
        advice += "that it gets as {port} in the command and as PORT in its environment"
    return TargetError(what + last_lines(target), advice=advice)
