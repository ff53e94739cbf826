"""Numbers of options, and ``--interval``, as every command has it that reads a process again and again."""

from __future__ import annotations

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A number in its range, which "nan" is not: it compares with nothing, and passes for any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click has it. Raises click.BadParameter."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(
                f"{value!r} is not a number; expected one in the range {self._describe_range()}", param, ctx
            )
        return number


interval_option = click.option(
    "--interval", type=Number(0.01, 3600), default=0.1, show_default=True, help="Seconds."
)
