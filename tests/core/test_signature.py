"""The last log lines of real crashes, and the names of their signatures."""

from __future__ import annotations

import pytest

from harness.core.judge.signature import SIGNATURES, excerpt, find, meaning


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Assertion failed: check () (src/msg.cpp:387)", "zeromq-assertion"),
        ("Assertion failed: pfd.revents & POLLIN (src/signaler.cpp:238)", "zeromq-assertion"),
        ("Assertion failed: ok (src/mailbox.cpp:72)", "zeromq-assertion"),
        ("Too many open files (src/epoll.cpp:38)", "zeromq-epoll-emfile"),
        ("zmq.error.ZMQError: Too many open files", "emfile"),
        ("OSError: [Errno 24] Too many open files", "emfile"),
        ("zsock.c:109: zsock_destroy_checked: Assertion `zsock_is (self)' failed.", "czmq-destroyed-socket"),
        ("fatal error: unexpected signal during runtime execution", "go-sigsegv"),
        ("Fatal Python error: Segmentation fault", "python-sigsegv"),
        ("[41]dangling 'DEALER' socket created at client.py:31", "dangling-socket"),
        ("java.lang.OutOfMemoryError: Java heap space", "java-oom"),
    ],
)
def test_the_last_lines_of_known_crashes_are_recognised(line: str, name: str) -> None:
    found = find(["INFO all is well", line, ""])
    assert found is not None
    assert found.signature.name == name
    assert found.line == line


ASSERTION = "Assertion failed: pfd.revents & POLLIN (src/signaler.cpp:238)"


@pytest.mark.parametrize(
    "begun",
    [
        '  File "/srv/app/check.py"',
        'File "/usr/lib/python3.11/threading.py", line 1045',
        '  File "/srv/app/check.py", line 7 in poll',
        "Thread 0x00007f97cdb4f6c0 (most recent call first):",
        "Current thread 0x00007f97cdb4f6c0",
    ],
)
def test_a_line_that_two_writers_share_is_quoted_from_its_message_on(begun: str) -> None:
    """faulthandler writes in pieces, and libzmq's message came between two of them."""
    found = find([f"{begun}{ASSERTION}"])
    assert found is not None
    assert (found.signature.name, found.line) == ("zeromq-assertion", ASSERTION)


@pytest.mark.parametrize("before", ["2026-01-01 12:00:00 ERROR ", "[worker 3] ", '  File "/srv/a.py": says '])
def test_a_usual_prefix_of_a_message_is_quoted(before: str) -> None:
    found = find([f"{before}{ASSERTION}"])
    assert found is not None
    assert found.line == f"{before}{ASSERTION}".strip()


def test_an_ordinary_log_has_no_signature() -> None:
    assert find(["GET / 200", "shutting down"]) is None


def test_the_more_specific_row_wins_wherever_it_stands() -> None:
    found = find(["OSError: [Errno 24] Too many open files", "Too many open files (src/epoll.cpp:38)"])
    assert found is not None
    assert found.signature.name == "zeromq-epoll-emfile"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        *(
            (f"Assertion failed: x ({folder}src/{file}.{suffix}pp:7)", "zeromq-assertion")
            for file in (
                "msg", "signaler", "mailbox", "mailbox_safe", "socket_base", "pipe", "ypipe", "poller_base", "epoll",
                "object", "own", "ctx", "session_base", "fq", "lb", "dealer", "router",
            )
            for folder, suffix in (("", "c"), ("/build/zeromq/", "h"))
        ),
        ("signal arrived during cgo execution", "go-cgo-sigsegv"),
        ("[signal SIGSEGV: segmentation violation code=0x1]", "go-sigsegv"),
        ("http: Accept error: accept tcp [::]:80: accept4: too many open files; retrying", "emfile"),
        ("accept: too many open files", "emfile"),
        ("Error: EMFILE, open '/tmp/x'", "emfile"),
        ("[Errno 24]", "emfile"),
        ("RuntimeError: can't start new thread", "thread-exhaustion"),
        ("[warning][os,thread] Failed to start thread: pthread_create failed (EAGAIN)", "thread-exhaustion"),
        ("java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory", "thread-exhaustion"),
        ("panic: runtime error: index out of range", "go-panic"),
        ("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", "node-oom"),
        ("MemoryError", "python-memory"),
        ("MemoryError: Unable to allocate", "python-memory"),
        ("Fatal Python error: _PyEval_EvalFrameDefault: x", "python-fatal"),
        ("Fatal Python error: Aborted", "python-abort"),
        ("Context termination timeout", "context-termination"),
        ("Socket close failure", "socket-close"),
    ],
)  # fmt: skip
def test_every_signature_is_found(line: str, name: str) -> None:
    found = find([line])
    assert found is not None
    assert found.signature.name == name
    assert meaning(name) == found.signature.meaning


@pytest.mark.parametrize(
    "line",
    [
        "INFO do not panic: all is well",
        "recovered from panic: x",
        "MemoryErrors: 0",
        "x MemoryError",
        "file too many open filesystems",
        "Assertion failed: x (lib/msg.cpp:7)",
        "Assertion failed: x (src/msg.rs:7)",
        "see Fatal Python error: Aborted",
        "[Errno 124]",
    ],
)
def test_a_mention_is_no_signature(line: str) -> None:
    assert find([line]) is None


def test_the_meaning_of_an_unknown_signature_is_its_name() -> None:
    assert meaning("some-old-name") == "some-old-name"


def test_an_excerpt_keeps_the_first_line_of_each_buried_signature_and_the_tail() -> None:
    emfile, panic = "OSError: [Errno 24] x", "panic: y"
    lines = ["a", emfile, "b", emfile + " again", panic, "c", "d"]
    assert excerpt(lines, 2) == (emfile, panic, "c", "d")
    assert excerpt(lines, 3) == (emfile, panic, "c", "d"), "the tail shows the panic itself"
    assert excerpt(lines, 7) == tuple(lines)
    assert excerpt(lines, 99) == tuple(lines)
    assert excerpt([], 5) == ()


def test_every_signature_has_a_name_of_its_own_and_a_meaning() -> None:
    assert len({each.name for each in SIGNATURES}) == len(SIGNATURES)
    assert all(isinstance(each.meaning, str) and " " in each.meaning for each in SIGNATURES)
