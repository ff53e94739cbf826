"""Checks the arguments of ``guard(…)``, and converts them to options."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.budget import Budget
from harness.core.errors import ConfigError
from harness.core.units import did_you_mean, duration, rate, size
from harness.experiment.options import OPTIONS

TIMES = ("max_time", "retention", "dwell", "settle", "hold", "settle_timeout", "stall_after", "ready_timeout")
# Options that the fixture sets itself, so that a call may not give them.
SET_BY_GUARD = ("urls", "budget_notes", "preflight", "preflight_timeout", "grace")
TYPES = {name: kind for name, (_, kind) in OPTIONS.items()}
ARGUMENTS = ("url", *(name for name in OPTIONS if name not in SET_BY_GUARD))
MODES = ("stream", "request")
TEXT = (str, os.PathLike)


def _maps_texts(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(one, str) for entry in value.items() for one in entry
    )


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "int": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "float": (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "str": (lambda value: isinstance(value, str), "a string"),
    "bytes": (lambda value: isinstance(value, bytes), "bytes"),
    "Path": (lambda value: isinstance(value, Path), "a path"),
    "Mapping[str, str]": (_maps_texts, "a mapping of strings to strings, such as {'NAME': 'value'}"),
    "tuple[str, ...]": (
        lambda value: isinstance(value, tuple) and all(isinstance(one, str) for one in value),
        "a list of strings",
    ),
}
"""Type of an option → a check of its value, and what it expects in words. ``| None`` allows None as well."""


def check_names(given: Mapping[str, Any]) -> None:
    """Raise ConfigError for an unknown argument, with the most similar name."""
    for name in given:
        if name not in ARGUMENTS:
            raise ConfigError(
                f"guard({name}=…): no such argument; expected an option{did_you_mean(name, ARGUMENTS)}"
            )


def command_arguments(command: object) -> list[str] | None:
    """The arguments of a command, with paths as texts. Raises ConfigError for anything else."""
    if command is None:
        return None
    call = f"guard(command={command!r})"
    if isinstance(command, str):
        raise ConfigError(f"{call}: one string; expected a list of arguments: {shlex.split(command)}")
    if not isinstance(command, Sequence) or not all(isinstance(word, TEXT) for word in command):
        raise ConfigError(
            f"{call}: expected a list of arguments, each a string or a path; convert others with str()"
        )
    if not command:
        raise ConfigError(f"{call}: expected the program that starts the service, and its arguments")
    return [os.fsdecode(word) for word in command]


def addresses(url: object) -> list[str]:
    """One URL or several. Raises ConfigError for anything else."""
    found = [url] if isinstance(url, str) else url
    if not isinstance(found, Sequence) or not found or not all(isinstance(one, str) for one in found):
        raise ConfigError(f"guard(url={url!r}): expected a string such as 'http://127.0.0.1:{{port}}/events'")
    return list(found)


def check_budget(budget: object) -> None:
    """Raise ConfigError unless it is a Budget or a mapping."""
    if budget is not None and not isinstance(budget, Budget | Mapping):
        raise ConfigError(f"guard(budget={budget!r}): expected a mapping such as {{'fds': '0/connection'}}")


def convert(name: str, value: Any) -> Any:
    """The value of another argument: texts of times, rates and paths are taken too. Raises ConfigError."""
    if isinstance(value, str) and name in TIMES:
        return duration(f"guard({name}=…)", value, zero=name == "retention")
    if isinstance(value, str) and name == "sensitivity":
        return rate("guard(sensitivity=…)", value)
    if isinstance(value, str) and name == "max_event":
        return int(size("guard(max_event=…)", value))
    # One status is given as it is, and statuses may be numbers: guard(expect=503), guard(expect=[404, "5xx"]).
    if name == "expect":
        several = value if isinstance(value, list | tuple) else [value]
        value = tuple(str(one) if type(one) is int else one for one in several)
    kind, _, optional = TYPES[name].partition(" | ")
    if optional and value is None:
        return None
    if kind == "Path" and isinstance(value, TEXT):
        value = Path(os.fsdecode(value))
    elif kind == "bytes" and isinstance(value, str):
        value = value.encode()
    elif kind == "tuple[str, ...]" and isinstance(value, list):
        value = tuple(value)
    fits, expected = KINDS[kind]
    if not fits(value):
        raise ConfigError(f"guard({name}={value!r}): expected {expected}")
    if name == "mode" and value not in MODES:
        raise ConfigError(f"guard(mode={value!r}): expected {' or '.join(MODES)}")
    return value
