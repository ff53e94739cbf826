"""The last words of real deaths, and the names they get."""

from __future__ import annotations

import pytest

from harness.core.signature import find


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
def test_known_last_words(line: str, name: str) -> None:
    found = find(["INFO all is well", line, ""])
    assert found is not None
    assert found.signature.name == name
    assert found.line == line


def test_an_innocent_log_has_no_signature() -> None:
    assert find(["GET / 200", "shutting down"]) is None


def test_the_more_specific_row_wins_wherever_it_stands() -> None:
    found = find(["OSError: [Errno 24] Too many open files", "Too many open files (src/epoll.cpp:38)"])
    assert found is not None
    assert found.signature.name == "zeromq-epoll-emfile"
