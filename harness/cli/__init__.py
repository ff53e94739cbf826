"""The command line. Each command lives in its own module and is imported when it is used."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from harness import __version__
from harness.core.errors import EXIT_INCONCLUSIVE, EXIT_INFRASTRUCTURE, EXIT_USAGE, HarnessError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
COMMANDS = {
    "reproduce": "the crash, its causes and its fixes, profile by profile",
    "guard": "any service: load it, judge whether it gives everything back",
    "soak": "the same cycles for hours; survives interruption",
    "judge": "judge a saved run again",
    "report": "write the report of a saved run again",
    "init": "a commented budgets.toml, a test and a workflow for your project",
    "budget": "check a budget file without a run",
    "baseline": "budgets from an accepted run",
    "schema": "the JSON Schema of --json",
    "memory": "what a Python program keeps, line by line",
    "watch": "live view of a running process: counts, classes, what grew",
    "probe": "print readings of a process tree as JSON lines",
    "doctor": "can this machine run the harness?",
}


class LazyGroup(click.Group):
    """Names and one-line helps are known here; the code of a command is imported when asked for."""

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
    epilog="Exit codes: 0 everything came back · 1 the service's fault · 2 usage · 3 inconclusive or "
    "interrupted · 4 infrastructure.",
)
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """After clients come and go, does a streaming service give everything back?"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; every expected failure is one line and a documented exit code."""
    for stream in (sys.stdout, sys.stderr):
        # What a service said may be anything; a terminal that cannot show it gets an escape, not the user a defect.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    try:
        code = cli.main(args=list(argv) if argv is not None else None, standalone_mode=False)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = EXIT_USAGE
    except click.ClickException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "harness")
        says = printable(error.format_message()).rstrip(".")
        click.echo(f"harness: {says}; see: {path} --help", err=True)
        code = EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("harness: interrupted", err=True)
        code = EXIT_INCONCLUSIVE
    except HarnessError as error:
        click.echo(f"harness: {printable(str(error))}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        # The reader of our output went away (`harness … | head`): nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = EXIT_INFRASTRUCTURE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            click.echo(f"harness: cannot write: {error.strerror}; free some space", err=True)
            sys.exit(EXIT_INFRASTRUCTURE)
        if os.environ.get("HARNESS_TRACEBACK"):
            traceback.print_exc()
        click.echo(
            f"harness: unexpected {type(error).__name__}: {printable(str(error))}; this is a defect of the "
            "harness: please report it with the output of HARNESS_TRACEBACK=1",
            err=True,
        )
        code = EXIT_INFRASTRUCTURE
    sys.exit(code if isinstance(code, int) else 0)


def printable(text: str) -> str:
    """Without the control characters with which a target could drive the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
