"""Checks the numbers of a load before anything starts; the swarm would refuse invalid ones only later."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from harness.core.errors import OptionError
from harness.experiment.options import GuardRequest
from harness.swarm.load import MAX_CONNECTIONS, LoadOptions

MIN_CYCLES = 3


def check_amounts(request: GuardRequest) -> None:
    """Raises OptionError naming the option whose number is outside of its range."""
    for one in fields(LoadOptions):
        amount = getattr(request.load, one.name)
        if one.metadata and amount is not None:
            _check(one, amount)
    _check_count("cycles", request.judgement.cycles, MIN_CYCLES, MAX_CONNECTIONS)


def _check(one: Field[Any], amount: float) -> None:
    low, high, unit = one.metadata["low"], one.metadata["high"], one.metadata["unit"]
    if not unit:
        _check_count(one.name, amount, low, high)
    elif low <= amount <= high:
        return
    elif unit == "bytes":
        raise OptionError(
            one.name, amount, f"expected a size from {low} byte to {high >> 20} MiB, such as 4 MiB"
        )
    else:
        raise OptionError(
            one.name, amount, f"expected a time from {low:g}s to {high / 3600:.0f}h, such as 2s"
        )


def _check_count(option: str, amount: float, low: int, high: int) -> None:
    if amount < low:
        raise OptionError(option, amount, f"expected at least {low}")
    if amount > high:
        raise OptionError(option, amount, f"expected at most {high}")
