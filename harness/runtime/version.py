"""The version of the runtime that a service runs on, from its files alone: nothing of the service is executed."""

from __future__ import annotations

import contextlib
import mmap
import re
from pathlib import Path

from harness.runtime.detect import GO, JVM, NODE, PYTHON, Choice
from harness.runtime.processes import executable

IN_PATH = re.compile(r"/v?(\d+\.\d+\.\d+)/")  # /opt/python/3.11.7/bin/python3.11, …/node/v22.3.0/bin/node
PYTHON_NAME = re.compile(r"python(\d+\.\d+)")
JAVA_RELEASE = re.compile(r'JAVA_VERSION="([^"]+)"')
NODE_HEADER = re.compile(r"#define NODE_(MAJOR|MINOR|PATCH)_VERSION (\d+)")
BUILD_INFO, GO_VERSION = b"\xff Go buildinf:", re.compile(rb"go(\d+\.\d+(?:\.\d+)?)")


def runtime_version(choice: Choice) -> str:
    """``3.11.7``, as exactly as its files tell; "" when they do not."""
    if choice.pid is None:
        return ""
    path = Path(executable(choice.pid) or "/")
    with contextlib.suppress(OSError, ValueError):
        if choice.runtime == GO:
            return _go(Path(f"/proc/{choice.pid}/exe"))
        if choice.runtime == JVM:
            found = JAVA_RELEASE.search((path.parents[1] / "release").read_text())
            return found.group(1) if found else ""
        if found := IN_PATH.search(str(path)):
            return found.group(1)
        if choice.runtime == PYTHON:
            found = PYTHON_NAME.search(path.name)
            return found.group(1) if found else ""
        if choice.runtime == NODE:
            header = (path.parents[1] / "include/node/node_version.h").read_text()
            return ".".join(number for _, number in NODE_HEADER.findall(header)[:3])
    return ""


def _go(binary: Path) -> str:
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(BUILD_INFO)
        found = GO_VERSION.search(data[at : at + 256]) if at >= 0 else None
        return found.group(1).decode() if found else ""
