"""Typed errors, each tied to the exit code that the command line documents.

The text of an error is one line: the value met, what was expected, what to do.
"""

from __future__ import annotations

EXIT_BOUNDED = 0
EXIT_SERVICE = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_INFRASTRUCTURE = 4


class HarnessError(Exception):
    """Base of every error the harness raises on purpose."""

    exit_code = EXIT_INFRASTRUCTURE


class ConfigError(HarnessError):
    """The request itself is wrong: an option, a file, a value."""

    exit_code = EXIT_USAGE


class TargetError(HarnessError):
    """The service under test cannot be judged: it never started, never got ready. advice: the next step."""

    exit_code = EXIT_SERVICE

    def __init__(self, text: str, *, advice: str = "") -> None:
        super().__init__(text)
        self.advice = advice


class ProbeError(HarnessError):
    """Readings cannot be had: no /proc, no permission, the process is gone."""


class SwarmError(HarnessError):
    """The load generator failed; the service is not to blame."""


class KeeperLost(HarnessError):
    """The process that keeps a child was killed: how the child would have gone on cannot be known."""


class BrokerError(HarnessError):
    """The fake broker failed; the service is not to blame."""


class PortTaken(HarnessError):
    """A port that the run needs is in use by somebody else."""


class StoreError(HarnessError):
    """A run cannot be written or read."""


class HistoryError(HarnessError):
    """The history of runs cannot be read or written. The runs themselves are not affected."""


class NotificationError(HarnessError):
    """Whoever asked to be told of a changed outcome could not be told."""


class Interrupted(HarnessError):
    """The user stopped the run; what was measured is kept."""

    exit_code = EXIT_INCONCLUSIVE
