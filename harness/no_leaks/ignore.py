"""Exceptions from the leak check: each has a pattern and a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.core.errors import ConfigError
from harness.core.units import did_you_mean
from harness.no_leaks.snapshot import KINDS


@dataclass(frozen=True, slots=True)
class Ignore:
    """Things of a kind (one of KINDS, or ``*``: any) whose text matches a shell pattern. reason: why that is no
    leak.

    Raises ConfigError for an unknown kind, and without a reason, which later readers of the test need.
    """

    kind: str
    match: str
    reason: str

    def __post_init__(self) -> None:
        text = f"Ignore({self.kind!r}, {self.match!r}, {self.reason!r})"
        if self.kind not in ("*", *KINDS):
            hint = did_you_mean(str(self.kind), KINDS)
            raise ConfigError(f"{text}: kind {self.kind!r}; expected * or one of {', '.join(KINDS)}{hint}")
        if not isinstance(self.match, str):
            raise ConfigError(f"{text}: expected a shell pattern such as '*eventfd*'")
        if not isinstance(self.reason, str) or not self.reason.strip():
            raise ConfigError(f"{text}: no reason given; expected why it is not a leak")

    def covers(self, kind: str, text: str) -> bool:
        """Whether this entry matches the object."""
        return self.kind in ("*", kind) and fnmatchcase(text, self.match)


BUILT_IN = (
    Ignore(
        "children", "*multiprocessing.resource_tracker*", "one per interpreter, which it outlives by a moment"
    ),
    Ignore("children", "*multiprocessing.forkserver*", "one per interpreter; ends with it"),
    Ignore("descriptors", "*multiprocessing.resource_tracker*", "the pipe to the interpreter's one tracker"),
    Ignore("descriptors", "*multiprocessing.forkserver*", "the pipe to the interpreter's one fork server"),
    Ignore(
        "threads", "pytest_timeout*", "the timer of the test that runs; pytest-timeout ends it after the test"
    ),
    Ignore("threads", "*(GarbageCollectorThread)", "pyzmq's one collector of zero-copy messages, for good"),
    Ignore("zeromq", "*of zmq.utils.garbage*", "pyzmq's one collector of zero-copy messages, for good"),
)


def covered(ignores: Iterable[Ignore], kind: str, text: str) -> bool:
    """Whether any entry, or a built-in one, matches the object."""
    return any(entry.covers(kind, text) for entry in (*ignores, *BUILT_IN))


def checked(ignores: object) -> list[Ignore]:
    """A list of entries; a single one is accepted too. Raises ConfigError for anything else."""
    many = isinstance(ignores, Iterable) and not isinstance(ignores, str)
    found: list[Ignore] = []
    for entry in ignores if many else [ignores]:  # type: ignore[attr-defined]
        if not isinstance(entry, Ignore):
            raise ConfigError(f"ignore={ignores!r}: expected a list of Ignore(kind, match, reason)")
        found.append(entry)
    return found
