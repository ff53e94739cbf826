"""Standard output and standard error, in whatever state the shell provides them.

A closed or full stream does not affect the verdict: files are written first, and what cannot be printed is left out.
"""

from __future__ import annotations

import contextlib
import os
import sys

import click

from harness.cli import secret
from harness.core.quote import terminal

MAX_MESSAGE = 1000  # characters of one message


def open_closed_streams() -> None:
    """Open closed streams (``>&-``) on /dev/null: otherwise the next opened file would get their number, and the
    output."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, mode)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
        # A service may log any character. What the terminal cannot show is escaped, so that printing does not fail.
        if reconfigure := getattr(getattr(sys, name), "reconfigure", None):
            reconfigure(errors="backslashreplace")


def print_error(text: str) -> None:
    """One line on standard error. A failure to write it is ignored."""
    try:
        click.echo(safe_line(text), err=True)
    except OSError:
        redirect_to_null(2)


def safe_line(text: str) -> str:
    """A text as one line that a terminal or a CI log can show: no secret, no control character, no command."""
    if len(text) > MAX_MESSAGE:
        # An argument in the message may have any length, and the message names the reason last.
        text = f"{text[: MAX_MESSAGE // 2]}…{text[-MAX_MESSAGE // 2 :]}"
    return terminal(secret.hidden(text), 2 * MAX_MESSAGE)


def redirect_to_null(number: int) -> None:
    """Redirect a standard stream to /dev/null. Otherwise the interpreter fails again when it flushes the stream at its
    exit. number: its descriptor, 1 or 2."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)


def working_directory() -> str:
    """The working directory, below which paths are shown relative to it; empty once it was removed."""
    with contextlib.suppress(OSError):
        return os.getcwd()  # noqa: PTH109 - Path.cwd() is the same call
    return ""
