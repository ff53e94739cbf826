"""Crash signatures: what the last words of a log say of the way a service died."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """A pattern, its name, and what it means in one clause."""

    name: str
    pattern: re.Pattern[str]
    meaning: str


def _row(name: str, pattern: str, meaning: str) -> Signature:
    return Signature(name, re.compile(pattern), meaning)


LONGEST = 2000  # characters of a log line that are searched and quoted

# Most specific first: the first row that matches any line decides.
SIGNATURES: tuple[Signature, ...] = (
    _row(
        "zeromq-assertion",
        r"Assertion failed: .*\((?:.*/)?src/(?:msg|signaler|mailbox|mailbox_safe|socket_base|pipe|ypipe|poller_base|"
        r"epoll|object|own|ctx|session_base|fq|lb|dealer|router)\.[ch]pp:\d+\)",
        "an internal check of libzmq failed: a socket was used from several threads or after it was closed",
    ),
    _row(
        "zeromq-epoll-emfile",
        r"Too many open files \(.*src/epoll\.cpp",
        "libzmq had no descriptor left for a context",
    ),
    _row(
        "czmq-destroyed-socket",
        r"zsock_destroy_checked.*zsock_is \(self\)",
        "a CZMQ socket was destroyed twice",
    ),
    _row("go-cgo-sigsegv", r"signal arrived during cgo execution", "a Go service died inside C code"),
    _row(
        "go-sigsegv",
        r"fatal error: unexpected signal during runtime execution|\[signal SIGSEGV",
        "a Go service died of an invalid memory access",
    ),
    _row(
        "emfile",
        r"Too many open files|EMFILE|\[Errno 24\]|accept4?: too many open files",
        "descriptors ran out",
    ),
    _row(
        "thread-exhaustion",
        r"can't start new thread|pthread_create failed|unable to create native thread",
        "threads ran out",
    ),
    _row("go-panic", r"^panic: ", "a Go service panicked"),
    _row("java-oom", r"java\.lang\.OutOfMemoryError", "the JVM ran out of memory"),
    _row("node-oom", r"JavaScript heap out of memory", "the Node heap ran out of memory"),
    _row("python-memory", r"^MemoryError\b", "Python ran out of memory"),
    _row("python-fatal", r"^Fatal Python error: (?!Aborted|Segmentation)", "the Python interpreter gave up"),
    _row("python-abort", r"^Fatal Python error: Aborted", "the process aborted"),
    _row(
        "python-sigsegv",
        r"^Fatal Python error: Segmentation fault",
        "the process died of an invalid memory access",
    ),
    _row("dangling-socket", r"dangling '\w+' socket created at", "ZeroMQ sockets were left open at exit"),
    _row("context-termination", r"Context termination timeout", "a ZeroMQ context could not be ended"),
    _row("socket-close", r"Socket close failure", "a ZeroMQ socket could not be closed"),
)


@dataclass(frozen=True, slots=True)
class Match:
    """A signature found, and the line in which it stood."""

    signature: Signature
    line: str


def _matches(signature: Signature, line: str) -> bool:
    """Whether the beginning of a line matches: the patterns take quadratic time on a line without end."""
    return bool(signature.pattern.search(line[:LONGEST]))


def find(lines: Sequence[str]) -> Match | None:
    """The most specific signature in these lines; None when none is known."""
    for signature in SIGNATURES:
        for line in lines:
            if _matches(signature, line):
                return Match(signature, line.strip()[:LONGEST])
    return None


def meaning(name: str) -> str:
    """What a signature means, in one clause; for a name that is not known, such as one in an old record, itself."""
    return next((each.meaning for each in SIGNATURES if each.name == name), name)


def excerpt(lines: Sequence[str], last: int) -> tuple[str, ...]:
    """The last lines of a log, and before them the first line of every signature that they do not show:
    a service that dies verbosely buries the cause under its consequences."""
    tail = list(lines[-last:])
    buried = lines[: max(0, len(lines) - last)]
    kept: list[str] = []
    for signature in SIGNATURES:
        if any(_matches(signature, line) for line in tail):
            continue
        kept.extend(itertools.islice((line for line in buried if _matches(signature, line)), 1))
    return (*kept, *tail)
