"""One round of checks serves every client that asks at about the same time."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint

SUMMARY = "clients share a round of checks: their number no longer multiplies it"


def install(blueprint: Blueprint) -> None:
    """Let the health service share its rounds."""
    blueprint.shared_checks = True
