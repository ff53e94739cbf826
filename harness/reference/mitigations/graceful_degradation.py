"""While the broker does not answer, check rarely and report the latest known results."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint
from harness.reference.mitigations.circuit_breaker import CircuitBreaker

SUMMARY = "a missed deadline counts as a failure; until the broker answers, one check at a time"
ORDER = 1  # after circuit-breaker, which it makes strict


def install(blueprint: Blueprint) -> None:
    """A strict breaker before every check."""
    settings = blueprint.settings
    blueprint.admission = CircuitBreaker(
        settings.breaker_failures,
        settings.breaker_recovery,
        strict=True,
    )
