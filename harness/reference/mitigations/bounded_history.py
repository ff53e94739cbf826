"""Keep the latest results only."""

from __future__ import annotations

from collections import deque

from harness.reference.blueprint import Blueprint

SUMMARY = "no more than the latest results are kept"


def install(blueprint: Blueprint) -> None:
    """A ring in place of whatever was there."""
    blueprint.history = deque(maxlen=blueprint.settings.history_limit)
