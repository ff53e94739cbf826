"""What resuming an interrupted soak needs: the arguments of its command, without secrets, and its working directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import ConfigError
from harness.store.run_dir import RunDirectory

FILE = "plan.json"
MAX_FILE_BYTES = 1 << 20  # bytes
VERSION = 1  # of the file; another one is not read


@dataclass(frozen=True, slots=True)
class Plan:
    """arguments: those after ``harness soak``, with ``***`` for each secret. folder: the working directory."""

    arguments: tuple[str, ...]
    folder: str
    version: int = VERSION


def save_plan(directory: RunDirectory, arguments: Sequence[str]) -> None:
    """Write it beside the run. Raises StoreError."""
    plan = Plan(tuple(arguments), str(Path.cwd()))
    # The file keeps the names of its fields, because an earlier harness of this version may have written it.
    stored = {"words": plan.arguments, "folder": plan.folder, "version": plan.version}
    directory.write_text(FILE, json.dumps(stored, indent=1) + "\n")


def load_plan(run: Path) -> Plan:
    """Read it again. Raises ConfigError when it is missing or damaged."""
    path = run / FILE
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("too large")
        data = json.loads(path.read_bytes())
        arguments, folder, version = data["words"], data["folder"], data["version"]
        if version != VERSION or not isinstance(folder, str) or not isinstance(arguments, list):
            raise ValueError("other values")
        if not all(isinstance(one, str) for one in arguments):
            raise ValueError("arguments of another type")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}: the run cannot be resumed without its plan; start a new soak"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(
            f"{path}: not the plan of a soak: the run cannot be resumed; restore the file or start a new soak"
        ) from None
    return Plan(tuple(arguments), folder)
