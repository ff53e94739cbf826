"""Services that have to be built before they run."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

BUILD_SECONDS = 180
_TURN = threading.Lock()


def go_binary(folder: Path) -> Path:
    """The program of a folder, built once; gone when this process ends. Raises CalledProcessError with the output of
    go."""
    with _TURN:
        return _built(folder)


@functools.cache
def _built(folder: Path) -> Path:
    out = Path(tempfile.mkdtemp(prefix="small-services-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    binary = out / folder.name
    sources = ["."] if (folder / "go.mod").exists() else sorted(path.name for path in folder.glob("*.go"))
    command = ["go", "build", "-o", str(binary), *sources]
    subprocess.run(command, cwd=folder, check=True, timeout=BUILD_SECONDS)
    return binary


def java_classes(folder: Path) -> Path:
    """Where the classes of a folder are, compiled once. Raises CalledProcessError with the compiler's output."""
    with _TURN:
        return _compiled(folder)


@functools.cache
def _compiled(folder: Path) -> Path:
    out = Path(tempfile.mkdtemp(prefix="small-services-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    sources = sorted(str(path) for path in folder.glob("*.java"))
    subprocess.run(["javac", "-d", str(out), *sources], check=True, timeout=BUILD_SECONDS)
    return out
