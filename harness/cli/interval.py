"""``--interval``, as every command has it that reads a process again and again."""

from __future__ import annotations

import math
from typing import Any

import click


class Seconds(click.FloatRange):
    """A number in its range, which "nan" is not: it compares with nothing, and passes for any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click has it. Raises click.BadParameter."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number of seconds; expected 0.01 to 3600", param, ctx)
        return number


interval_option = click.option(
    "--interval", type=Seconds(0.01, 3600), default=0.1, show_default=True, help="Seconds."
)
