"""Names of options in errors, as the command line writes them: ``--dwell 0``, where a Python call says ``dwell=0``."""

from __future__ import annotations

import click

from harness.cli import guard
from harness.cli.quantities import WRITTEN
from harness.core.errors import OptionError, as_flag


def as_flags(error: OptionError) -> str:
    """The text of an error, with its options as flags."""
    return error.spelled(_flag)


def _flag(option: str, value: object) -> str:
    known = {one.name: one for one in guard.command.params}
    one = known.get(option)
    if isinstance(one, click.Argument):
        return f"-- {'COMMAND' if value is None else value}"
    flag = one.opts[0] if one else ""
    if value is not None and option in WRITTEN:
        return f"{as_flag(option, flag=flag)} {WRITTEN[option]}"
    return as_flag(option, value, flag=flag)
