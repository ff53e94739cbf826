"""Number types of options, and ``--interval`` of the commands that read a process repeatedly."""

from __future__ import annotations

import math
from typing import Any

import click


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


interval_option = click.option(
    "--interval",
    type=Number(0.01, 3600),
    default=0.1,
    show_default=True,
    help="Seconds between two readings.",
)
