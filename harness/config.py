"""Finds and reads budget files, and knows the line of every value for error messages."""

from __future__ import annotations

import datetime
import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.core.applied_budget import applicable_budget
from harness.core.budget import Budget
from harness.core.budget_file import BudgetFile, Place, budget_of, parse
from harness.core.errors import ConfigError, OptionError
from harness.core.note import Note, NoteKind
from harness.process.read import read_bounded

BUDGETS = "budgets.toml"
PROJECT = "pyproject.toml"
MAX_FILE_BYTES = 1 << 20  # bytes of a budget file
MAX_KEY = 1000  # characters of a key or a header whose line an error names
KEY_TRIES = 20  # equals signs of a line after which its key is looked for no further


def find(start: Path) -> Path | None:
    """The nearest ``budgets.toml``, or ``pyproject.toml`` with ``[tool.harness]``, in ``start`` or above it.

    Raises ConfigError when one folder has both, because neither may be ignored silently.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        own, project = folder / BUDGETS, folder / PROJECT
        in_project = project.is_file() and _section(project) is not None
        if own.is_file() and in_project:
            raise ConfigError(
                f"{own} and [tool.harness] in {project} both hold budgets; expected one of them: "
                "move what is in one into the other, or name the file to use"
            )
        if own.is_file():
            return own
        if in_project:
            return project
    return None


def load(path: Path) -> BudgetFile:
    """Read and check a budget file. Raises ConfigError: file, line, value, what was expected."""
    return loads(path, read(path))


def loads(path: Path, text: str) -> BudgetFile:
    """Check the contents of a budget file, or those that will be written. Raises ConfigError as ``load`` does."""
    data = _parsed(path, text)
    prefix: Place = ()
    if path.name == PROJECT:
        prefix = ("tool", "harness")
        data = data.get("tool", {}).get("harness")
        if not isinstance(data, Mapping):
            raise ConfigError(f"{path}: no [tool.harness] in it; expected budgets there, or a {BUDGETS}")
    lines = line_numbers(text)

    def where(place: Place) -> str:
        number = _line(lines, (*prefix, *place))
        return f"{path}, line {number}" if number else str(path)

    return parse(data, source=str(path), where=where)


def budget_for(
    path: Path | None,
    *,
    endpoints: Iterable[str],
    profile: str | None = None,
    start: Path | None = None,
    today: datetime.date | None = None,
) -> tuple[Budget, tuple[Note, ...]]:
    """The budget of a guard, and notes on where it comes from and which exceptions are in it.

    path: the file, None to look upward from ``start`` (the working directory). Raises ConfigError.
    """
    found = path if path is not None else find(start or Path.cwd())
    if found is None:
        if profile is not None:
            raise OptionError(
                "profile", profile, f"no {BUDGETS} here or above; expected one, or a `budget` file"
            )
        return Budget(), ()
    file = load(found)
    budget, notes = applicable_budget(
        file, endpoints=endpoints, profile=profile, today=today or datetime.datetime.now().astimezone().date()
    )
    return budget, (Note(NoteKind.BUDGETS, f"budgets: {found}", {"file": str(found)}), *notes)


def from_arguments(values: Mapping[str, Any], where: str) -> Budget:
    """A budget from the arguments of a call or a marker: ``idle_cpu`` is ``idle-cpu``. Raises ConfigError."""
    return budget_of(
        {name.replace("_", "-"): value for name, value in values.items()}, ("budget",), lambda _: where
    )


def read(path: Path) -> str:
    """The text of a budget file. Raises ConfigError for what cannot be one: a folder, a device, no UTF-8."""
    data = read_bounded(path, MAX_FILE_BYTES, option=str(path), expected="a budget file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; expected TOML") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    # TOML that is nested too deeply, or an integer of more than 4,300 digits, raises other errors than a mistake does.
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*) \(at line (\d+), column \d+\)$", str(error))
        place, why = (f"{path}, line {found[2]}", found[1]) if found else (str(path), str(error))
        raise ConfigError(f'{place}: not TOML: {why}; expected a line such as fds = "0/connection"') from None
    except (RecursionError, ValueError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f'{path}: not TOML: {why}; expected a line such as fds = "0/connection"') from None


def _section(path: Path) -> object | None:
    """``[tool.harness]`` of a pyproject.toml; None without one, or if the file is not TOML, which is reported
    elsewhere."""
    try:
        tool = tomllib.loads(read(path)).get("tool", {})
    except (ConfigError, RecursionError, ValueError):
        return None
    section: object | None = tool.get("harness") if isinstance(tool, dict) else None
    return section


def line_numbers(text: str) -> dict[Place, int]:
    """Place → line (from 1) of every table and key that begins a line; ``[[exception]]`` is counted from 0.

    tomllib keeps no positions. The header or key of each line is parsed by tomllib, which handles the quoting.
    """
    found: dict[Place, int] = {}
    table: Place = ()
    arrays: dict[Place, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            header = _keys(stripped)
            if header is None:
                continue
            if stripped.startswith("[["):
                arrays[header] = arrays.get(header, -1) + 1
                header = (*header, arrays[header])
            table = header
            found.setdefault(table, number)
        elif "=" in stripped and not stripped.startswith("#"):
            # The first = that ends a key. A line of a long text may contain thousands, and each attempt parses it
            # again.
            ends = (i for i, char in enumerate(stripped[:MAX_KEY]) if char == "=")
            for end in itertools.islice(ends, KEY_TRIES):
                keys = _keys(stripped[:end] + "= 0")
                if keys is not None:
                    found.setdefault((*table, *keys), number)
                    break
    return found


def _keys(line: str) -> Place | None:
    """The dotted key of one header or key line; None for a line that is neither."""
    try:
        value: Any = tomllib.loads(line) if len(line) <= MAX_KEY else None
    except (RecursionError, ValueError):
        return None
    keys: list[str] = []
    while isinstance(value, dict | list) and value:
        if isinstance(value, list):
            value = value[0]
            continue
        ((key, value),) = value.items()
        keys.append(key)
    return tuple(keys) or None


def _line(lines: Mapping[Place, int], place: Place) -> int | None:
    """The line of a place, else of its contents, else of its parent."""
    for length in range(len(place), 0, -1):
        begins = [number for name, number in lines.items() if name[:length] == place[:length]]
        if begins:
            return min(begins)
    return None
