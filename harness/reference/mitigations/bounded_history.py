"""Keep the latest results only."""

from __future__ import annotations

from collections import deque

from harness.reference.blueprint import Blueprint

SUMMARY = "only the latest results are kept"


def install(blueprint: Blueprint) -> None:
    """Use a ring buffer for the history."""
    blueprint.history = deque(maxlen=blueprint.settings.history_limit)
