"""Debian's Chromium, headless, without any network."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a file; in a network namespace of its own, where nothing can be reached, if this is root."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed")
    alone = ["unshare", "--net"] if os.geteuid() == 0 else []
    command = [*alone, binary, *FLAGS, f"--user-data-dir={profile}", "--enable-logging=stderr", *flags]
    return subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)


def first_pixel(png: Path) -> tuple[int, int, int]:
    """The upper left pixel. Whatever filter the first row has, its first pixel stands as it is
    (PNG specification, 9.2: what lies left of it and above it counts as zero)."""
    data, at, packed = png.read_bytes(), 8, b""
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += 12 + size
    red, green, blue = zlib.decompress(packed)[1:4]
    return red, green, blue
