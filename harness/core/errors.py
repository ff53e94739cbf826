"""Typed errors, each tied to the exit code that the command line documents.

The text of an error is one line: the value, what was expected, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable

EXIT_BOUNDED = 0
EXIT_SERVICE = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_INFRASTRUCTURE = 4
# Of several verdicts the first of these holds: the service's fault, the harness's, no verdict, a pass.
WORST_EXIT_FIRST = (EXIT_SERVICE, EXIT_INFRASTRUCTURE, EXIT_INCONCLUSIVE, EXIT_BOUNDED)


class HarnessError(Exception):
    """Base of every error the harness raises on purpose."""

    exit_code = EXIT_INFRASTRUCTURE


class ConfigError(HarnessError):
    """The request itself is wrong: an option, a file, a value."""

    exit_code = EXIT_USAGE


OPTION_MENTION = re.compile(r"`(\w+)`")  # the name of an option within the text of an OptionError


def as_argument(option: str, value: object = None) -> str:
    """An option as a Python call has it: ``dwell=0``."""
    if value is None:
        return option
    shown = str(value) if hasattr(value, "__fspath__") else value  # repr() of a path would name its type
    return f"{option}={shown!r}"


def as_flag(option: str, value: object = None, *, flag: str = "") -> str:
    """An option as a command line has it: ``--dwell 0``. flag: its own, where that is not its name with hyphens."""
    flag = flag or "--" + option.replace("_", "-")
    if value is None or isinstance(value, bool):
        return flag
    if isinstance(value, float):
        return f"{flag} {value:g}"
    return f"{flag} {value!r}" if isinstance(value, str) else f"{flag} {value}"


class OptionError(ConfigError):
    """One option is wrong. Its text names options as a Python call does; the command line calls ``spelled``, so that
    an error always names an option as its caller wrote it.

    option: its name. value: what was given; None where the error must not show it, or where no value is wrong. text:
    what was expected. It mentions other options by their name in backquotes.
    """

    def __init__(self, option: str, value: object, text: str) -> None:
        self.option, self.value, self.text = option, value, text
        super().__init__(self.spelled(as_argument))

    def spelled(self, spell: Callable[[str, object], str]) -> str:
        """The whole text. spell: called with the name of an option, and its value or None."""
        text = OPTION_MENTION.sub(lambda found: spell(found[1], None), self.text)
        return f"{spell(self.option, self.value)}: {text}"


class TargetError(HarnessError):
    """The service under test cannot be judged: it never started, never got ready. advice: the next step."""

    exit_code = EXIT_SERVICE

    def __init__(self, text: str, *, advice: str = "") -> None:
        super().__init__(text)
        self.advice = advice


class ProbeError(HarnessError):
    """Readings are impossible: no /proc, no permission, or the process has exited."""


class SwarmError(HarnessError):
    """The load generator failed; the service is not to blame."""


class SupervisorLost(HarnessError):
    """The supervisor of a child was killed, so nothing is known of the child any more."""


class BrokerError(HarnessError):
    """The fake broker failed; the service is not to blame."""


class PortTaken(HarnessError):
    """A port that the run needs is in use by another process."""


class StoreError(HarnessError):
    """A run cannot be written or read."""


class HistoryError(HarnessError):
    """The history of runs cannot be read or written. The runs themselves are not affected."""


class NotificationError(HarnessError):
    """The notification of a changed outcome could not be sent."""


class Interrupted(HarnessError):
    """The user stopped the run; what was measured is kept."""

    exit_code = EXIT_INCONCLUSIVE
