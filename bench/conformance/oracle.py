"""The error of an implementation that is not installed, and the folder of its parts."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


class Absent(Exception):
    """The other implementation is not on this machine. The text names what is missing and how to install it."""
