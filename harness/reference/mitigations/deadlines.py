"""A tick waits for its checks no longer than 1 s (dashboard) or 500 ms (status)."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint

SUMMARY = "deadlines for a tick's checks: 1 s (dashboard), 500 ms (status)"


def install(blueprint: Blueprint) -> None:
    """Give ticks a deadline. Whether it also ends the receive depends on the runner."""
    blueprint.deadlines = True
