"""Reads the version of a service's runtime from its files: nothing of the service is executed."""

from __future__ import annotations

import contextlib
import mmap
import re
from pathlib import Path

from harness.core.errors import ConfigError
from harness.process.proc import executable
from harness.process.read import check_regular, read_bounded
from harness.runtime.detect import GO, GO_MAGIC, JVM, NODE, PYTHON, Choice

IN_PATH = re.compile(r"/v?(\d+\.\d+\.\d+)/")  # /opt/python/3.11.7/bin/python3.11, …/node/v22.3.0/bin/node
PYTHON_NAME = re.compile(r"python(\d+\.\d+)")
JAVA_RELEASE = re.compile(r'JAVA_VERSION="([^"]+)"')
MAX_FILE_BYTES = 1 << 20  # bytes of a text file that names the version
NODE_HEADER = re.compile(r"#define NODE_(MAJOR|MINOR|PATCH)_VERSION (\d+)")
GO_VERSION = re.compile(rb"go(\d+\.\d+(?:\.\d+)?)")


def runtime_version(choice: Choice) -> str:
    """``3.11.7``, or fewer parts if its files say no more; "" if it is unknown."""
    if choice.pid is None:
        return ""
    path = Path(executable(choice.pid) or "/")
    with contextlib.suppress(OSError, ValueError, ConfigError):
        if choice.runtime == GO:
            return _go(Path(f"/proc/{choice.pid}/exe"))
        if choice.runtime == JVM:
            found = JAVA_RELEASE.search(_beside(path, "release"))
            return found.group(1) if found else ""
        # The folder of an installation often names the patch release too, which the name of the binary lacks.
        if found := IN_PATH.search(str(path)):
            return found.group(1)
        if choice.runtime == PYTHON:
            found = PYTHON_NAME.search(path.name)
            return found.group(1) if found else ""
        if choice.runtime == NODE:
            header = _beside(path, "include/node/node_version.h")
            return ".".join(number for _, number in NODE_HEADER.findall(header)[:3])
    return ""


def _beside(binary: Path, name: str) -> str:
    """A text file of the installation to which a binary belongs. The service chose the path, so it may be a pipe or an
    endless device."""
    if len(binary.parents) < 2:
        return ""
    file = binary.parents[1] / name
    check_regular(file, MAX_FILE_BYTES, expected="a file of the installation")
    return read_bounded(file, MAX_FILE_BYTES, option=str(file), expected="a file of the installation").decode(
        errors="replace"
    )


def _go(binary: Path) -> str:
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(GO_MAGIC)
        # The version follows the magic within the header of the build information (debug/buildinfo).
        found = GO_VERSION.search(data[at : at + 256]) if at >= 0 else None
        return found.group(1).decode() if found else ""
