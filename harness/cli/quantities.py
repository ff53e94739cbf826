"""Types of options that take a number, a time, a size, a rate or a pool of addresses."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from harness.core.units import duration, rate, size
from harness.http.source_addresses import source_pool

WRITTEN: dict[str, str] = {}
"""Name of an option → its text on this command line, which errors quote instead of the converted number."""


class Quantity(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases of click alone
    """Reads the text of an option; ``read`` is called with the option's name and the text."""

    def __init__(self, name: str, read: Callable[[str, str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Raises ConfigError naming the option."""
        if not isinstance(value, str):
            return value
        if param is not None and param.name:
            WRITTEN[param.name] = value
        return self._read(param.opts[0] if param else self.name, value)


TIME = Quantity("time", duration)
TIME_OR_ZERO = Quantity("time", partial(duration, zero=True))
SIZE = Quantity("size", lambda option, text: int(size(option, text)))
RATE = Quantity("rate", rate)
ADDRESSES = Quantity("addresses", lambda _, text: source_pool(text))


class Number(click.FloatRange):
    """A number within its range. click alone accepts "nan" for any range, because all comparisons with it are false."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert like click, and refuse nan. Raises click.BadParameter."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(
                f"{value!r} is not a number; expected one in the range {self._describe_range()}", param, ctx
            )
        return number


# Of the commands that read a process again and again.
interval_option = click.option(
    "--interval",
    type=Number(0.01, 3600),
    default=0.1,
    show_default=True,
    help="Seconds between two readings.",
)
