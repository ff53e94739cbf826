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
    """The program of a folder, built once; gone when this process ends. Raises CalledProcessError with go's words."""
    with _TURN:
        return _built(folder)


@functools.cache
def _built(folder: Path) -> Path:
    out = Path(tempfile.mkdtemp(prefix="small-services-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    binary = out / folder.name
    command = ["go", "build", "-o", str(binary), "."]
    if not (folder / "go.mod").exists():
        command[-1] = "main.go"
    subprocess.run(command, cwd=folder, check=True, timeout=BUILD_SECONDS)
    return binary
