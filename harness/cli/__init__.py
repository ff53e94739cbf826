"""The command line. Each command lives in its own module and is imported when it is used."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
import traceback
from collections.abc import Sequence

import click

from harness import __version__
from harness.cli import secret
from harness.cli.streams import open_closed_streams, print_error, redirect_to_null, safe_line
from harness.core.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_INFRASTRUCTURE,
    EXIT_USAGE,
    HarnessError,
    OptionError,
    StoreError,
)
from harness.core.units import did_you_mean, shown

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
INVALID_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES)
NO_FILES = ("schema", "doctor")  # commands that need no working directory
NO_DIRECTORY = "the working directory was removed; change to one that exists: cd"
COMMANDS = {
    "reproduce": "reproduce the crash, its causes and its fixes, profile by profile",
    "guard": "load any service and judge whether it leaks",
    "soak": "load a service for hours; can be resumed",
    "judge": "judge a saved run again",
    "explain": "explain how a saved run was judged, metric by metric",
    "report": "write the report of a saved run again",
    "history": "list, export and prune recorded runs; make a static site",
    "compare": "compare two runs",
    "trend": "find lasting changes over many runs",
    "init": "write a budgets.toml, a test and a workflow for your project",
    "budget": "check a budget file without a run",
    "baseline": "write budgets from an accepted run",
    "schema": "print the JSON Schema of --json",
    "memory": "find what a Python program retains, line by line",
    "watch": "watch what a running process holds, and what grows",
    "probe": "print readings of a process tree as JSON lines",
    "doctor": "check whether this machine can run the harness",
}


class LazyGroup(click.Group):
    """A group that has only names and short helps; the module of a command is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Commands in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import ``harness.cli.NAME`` and take its ``command``."""
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f"harness.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in ``--help``, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes of guard, soak and judge: 0 no leak was found · 1 the service's fault · 2 usage · "
    "3 inconclusive or interrupted · 4 infrastructure. The help of other commands gives theirs.",
)
@click.version_option(__version__, prog_name="harness")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Does a streaming service release what it opened for its clients after they disconnect?"""
    if ctx.invoked_subcommand not in NO_FILES and not directory_exists():
        raise StoreError(NO_DIRECTORY)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; every expected failure is one line and a documented exit code."""
    open_closed_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    secret.of_arguments(words)
    try:
        code = cli.main(args=words, standalone_mode=False)
    except BaseException as error:
        code = report_end(error)
    # Flushed here, because the interpreter would report an error of its own flush only after the exit code is
    # decided.
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            redirect_to_null(number)
    sys.exit(code if isinstance(code, int) else 0)


def report_end(error: BaseException) -> int:
    """Report in one line on standard error why a command ended, and return the exit code."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else EXIT_INFRASTRUCTURE
        case click.exceptions.Exit():
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return EXIT_USAGE
        case click.ClickException():
            path = getattr(getattr(error, "ctx", None), "command_path", "harness")
            print_error(
                f"harness: {safe_line(error.format_message()).rstrip('.')}{_near(error)}; see: {path} --help"
            )
            return EXIT_USAGE
        case click.Abort() | KeyboardInterrupt():
            print_error("harness: interrupted")
            return EXIT_INCONCLUSIVE
        case OptionError():
            from harness.cli.spelling import as_flags

            print_error(f"harness: {as_flags(error)}")
            return error.exit_code
        case HarnessError():
            print_error(f"harness: {error}")
            return error.exit_code
        case BrokenPipeError():
            # The reader of the output has exited (`harness … | head`), so no message can be printed.
            redirect_to_null(1)
            return EXIT_INFRASTRUCTURE
        case MemoryError():
            print_error(
                "harness: out of memory; free some, or raise the limit (ulimit -v, or that of the container)"
            )
            return EXIT_INFRASTRUCTURE
        case OSError() if error.errno in CANNOT_WRITE:
            redirect_to_null(1)
            where = f" {error.filename}" if error.filename else ""
            print_error(f"harness: cannot write{where}: {error.strerror}; free some space")
            return EXIT_INFRASTRUCTURE
        case OSError() if error.errno in INVALID_PATH and error.filename:
            print_error(
                f"harness: {shown(str(error.filename))}: {error.strerror}; expected a path that can be used"
            )
            return EXIT_USAGE
        case OSError() if not directory_exists():
            print_error(f"harness: {NO_DIRECTORY}")
            return EXIT_INFRASTRUCTURE
        case Exception():
            if os.environ.get("HARNESS_TRACEBACK"):
                for one in traceback.format_exception(error):
                    for text in one.splitlines():
                        print_error(text)
            print_error(
                f"harness: unexpected {type(error).__name__}: {error}; this is a defect of the harness: please report "
                "it with the output of HARNESS_TRACEBACK=1"
            )
            return EXIT_INFRASTRUCTURE
        case _:
            raise error


def _near(error: click.ClickException) -> str:
    """``; did you mean 'guard'?`` for a command that does not exist."""
    context = getattr(error, "ctx", None)
    unknown = re.fullmatch(r"No such command '(.{1,100})'\.", error.format_message())
    if context is None or unknown is None or not isinstance(context.command, click.Group):
        return ""
    return did_you_mean(unknown[1], context.command.list_commands(context))


def directory_exists() -> bool:
    """Whether the working directory is still there."""
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same call
    except OSError:
        return False
    return True
