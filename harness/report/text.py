"""What a target said is text, never an order to the terminal."""

from __future__ import annotations


def safe(text: str, limit: int = 400) -> str:
    """Without control characters, and not endless."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
