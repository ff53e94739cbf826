"""What an oracle raises when it cannot be asked, and where its parts are."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


class Absent(Exception):
    """The other implementation is not on this machine; says what is missing and how to get it."""
