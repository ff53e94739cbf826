"""Change every text inside a value, of any type. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# Fields that programs compare with fixed names. Changing them would make a saved run unjudgeable.
STRUCTURAL: Mapping[str, frozenset[str]] = {
    "RunRecord": frozenset({"run_id", "started_at", "harness_version"}),
    "TargetInfo": frozenset({"runtime", "limits"}),
    "Trial": frozenset({"budget"}),
    "Finding": frozenset({"metric", "kind", "status", "driver", "recipe"}),
    "Bound": frozenset({"metric", "kind", "status", "unit"}),
    "Rate": frozenset({"unit"}),
    "Exhaustion": frozenset({"ceiling"}),
    "Crash": frozenset({"signal", "signature", "grown"}),
    "CycleSpec": frozenset({"disconnect", "mode"}),
    "Place": frozenset({"kind"}),
    "Observation": frozenset({"levels"}),
    "Key": frozenset({"metric", "kind"}),
}


def mapped(value: T, change: Callable[[str], str]) -> T:
    """``value`` with ``change`` applied to each text in it, keys of mappings included.

    Dataclasses, mappings, tuples and lists are walked; enumerations and the fields in STRUCTURAL stay.
    A value in which nothing changes is returned itself, not a copy.
    """
    return _mapped(value, change)  # type: ignore[no-any-return]


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if type(value) is str:
        return change(value)
    if isinstance(value, tuple | list):
        parts = [_mapped(part, change) for part in value]
        # The value itself is returned where nothing changed: a record may be large, and most texts hold no secret.
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, Mapping):
        return _mapping(value, change)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = STRUCTURAL.get(type(value).__name__, frozenset())
        changes = {}
        for field in dataclasses.fields(value):
            if field.name in kept:
                continue
            old = getattr(value, field.name)
            new = _mapped(old, change)
            if new is not old:
                changes[field.name] = new
        return dataclasses.replace(value, **changes) if changes else value
    return value


def _mapping(value: Mapping[Any, Any], change: Callable[[str], str]) -> Mapping[Any, Any]:
    found: dict[Any, Any] = {}
    same = True
    for key, old in value.items():
        new_key = change(key) if type(key) is str else key
        # Two keys that differed only in what was changed must not become one entry.
        number = 2
        unique = new_key
        while unique in found:
            unique, number = f"{new_key} ({number})", number + 1
        new = _mapped(old, change)
        same = same and unique is key and new is old
        found[unique] = new
    return value if same else found
