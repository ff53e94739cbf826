"""One round of checks serves every client that asks at about the same time."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint

SUMMARY = "clients share a round of checks, so that their number no longer multiplies the checks"


def install(blueprint: Blueprint) -> None:
    """Let the health service share its rounds."""
    blueprint.shared_checks = True
