"""Attacks by another user of this machine, in a process of its own.

The process starts as root, because that user may not be allowed to execute this interpreter, imports what the attack
needs, and then becomes user 65534 ("nobody") for good.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NOBODY = 65534
TIMEOUT = 30.0
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user for the attack")

IMPORTS = """
import ctypes, encodings.idna, http.client, json, os, socket, stat, sys, time, urllib.request, urllib.error
import msgpack, zmq
given = json.loads(sys.argv[1])
"""
DROP = f"""
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
assert os.getresuid() == ({NOBODY},) * 3
def attempt(action):
    try:
        return action()
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"
"""


def argv(code: str, *, first: str = "", **given: Any) -> list[str]:
    """first: what still runs as root, such as imports."""
    return [sys.executable, "-c", f"{IMPORTS}\n{first}\n{DROP}\n{code}", json.dumps(given)]


def as_user_nobody(code: str, **given: Any) -> Any:
    """Run an attack; what it printed as JSON. ``given`` holds the arguments."""
    done = subprocess.run(argv(code, **given), capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def running_as_user_nobody(code: str, *, first: str = "", **given: Any) -> Iterator[subprocess.Popen[str]]:
    """An attacker that stays. Its first line of output says that it is ready."""
    process = subprocess.Popen(
        argv(code, first=first, **given),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate(timeout=TIMEOUT)
        yield process
    finally:
        process.kill()
        process.communicate()
