"""The JSON Schema of ``--json``, generated from the dataclasses, so that it cannot go out of date."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from harness.core.errors import EXIT_BOUNDED, EXIT_INCONCLUSIVE, EXIT_INFRASTRUCTURE, EXIT_SERVICE
from harness.core.metric import METRICS, Key
from harness.core.record import SCHEMA_VERSION, RunRecord, TargetInfo
from harness.core.verdict import Bound, Finding, Verdict

IDENTIFIER = "urn:sse-leak-harness:result:1"
EXIT_CODES = [EXIT_BOUNDED, EXIT_SERVICE, EXIT_INCONCLUSIVE, EXIT_INFRASTRUCTURE]
DRIVERS = [
    "connection",
    "answered-stream",
    "client",
    "event",
    "time",
    "abort",
    "slow-reader",
    "broker-timeout",
    "invalid-request",
    "refused-stream",
    "connected-second",
    "stalled-second",
]
# JSON has no infinity; an unlimited ceiling is written as a string.
NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
NARROWER: dict[tuple[str, str], dict[str, Any]] = {
    ("Finding", "metric"): {"enum": list(METRICS)},
    ("Finding", "status"): {"enum": ["leaking", "suspected", "over-ceiling"]},
    ("Finding", "driver"): {"enum": [*DRIVERS, None]},
    ("Finding", "scope"): {"enum": ["after-disconnect", "while-connected"]},
    ("Bound", "scope"): {"enum": ["after-disconnect", "while-connected"]},
    ("Bound", "metric"): {"enum": list(METRICS)},
    ("Bound", "status"): {"enum": ["bounded", "retention", "observed", "undecided"]},
    ("RunRecord", "schema_version"): {"const": SCHEMA_VERSION},
}


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one result: the verdict, and beside it the whole record."""
    builder = _SchemaBuilder()
    record = builder.properties(RunRecord)
    verdict = {
        "trial": {
            "type": ["string", "null"],
            "description": "Which trial the verdict is of; the worst of several.",
        },
        "exit_code": {"enum": EXIT_CODES},
        **builder.properties(Verdict),
    }
    # What the result has of a run with a single trial only.
    of_single_trial = {"target": builder.of(TargetInfo), "measured": _measured()}
    identity = {"schema_version": {"const": SCHEMA_VERSION}, "run_id": {"type": ["string", "null"]}}
    builder.definitions["Result"] = _object(
        {**identity, **verdict, **of_single_trial}, "One trial and its verdict."
    )
    whole = _object({**verdict, **record, "results": {"type": "array", "items": {"$ref": "#/$defs/Result"}}})
    # With several trials each finding names its trial, and there is no single target.
    for name, kind in (("findings", Finding), ("bounds", Bound)):
        whole["properties"][name] = {"type": "array", "items": _with_trial(builder.properties(kind))}
    # Added here, so that they are not required.
    whole["properties"] |= of_single_trial
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": IDENTIFIER,
        "title": "Result of a run",
        "description": "outcome, exit_code, findings and bounds are the verdict; trials is what it was made from.",
        **whole,
        "$defs": dict(sorted(builder.definitions.items())),
    }


def _object(
    properties: Mapping[str, Any], description: str = "", optional: Sequence[str] = ()
) -> dict[str, Any]:
    """The schema of an object with these properties and no others. optional: names that it may lack."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": dict(properties),
        "required": sorted(set(properties) - set(optional)),
        "additionalProperties": False,
    }
    return {"description": description, **schema} if description else schema


def _with_trial(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object that may also name its trial."""
    return _object({"trial": {"type": "string"}, **properties}, optional=("trial",))


def _measured() -> dict[str, Any]:
    counts = {
        name: {"type": "integer", "minimum": 0} for name in ("cycles", "connections", "failed", "events")
    }
    return _object({**counts, "seconds": NUMBER}, "What was done in all.")


class _SchemaBuilder:
    """Makes schemas from annotations. definitions: those of the dataclasses met so far, by name."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def properties(self, kind: type) -> dict[str, Any]:
        """Field → schema of one dataclass."""
        hints = get_type_hints(kind)
        return {
            field.name: NARROWER.get((kind.__name__, field.name)) or self.of(hints[field.name])
            for field in dataclasses.fields(kind)
        }

    def of(self, hint: Any) -> dict[str, Any]:
        """The schema of one annotation."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(part) for part in arguments]}
        if origin is tuple:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if hint is object or hint is Any:
            return {}
        if hint is float:
            return NUMBER
        simple = {type(None): "null", bool: "boolean", int: "integer", str: "string", Key: "string"}
        if hint in simple:
            return {"type": simple[hint]}
        if issubclass(hint, StrEnum):
            return {"enum": [member.value for member in hint]}
        name = hint.__name__
        if name not in self.definitions:
            self.definitions[name] = {}  # ends the recursion for a dataclass that contains itself
            words = (hint.__doc__ or "").strip().partition("\n\n")[0]
            self.definitions[name] = _object(self.properties(hint), " ".join(words.split()))
        return {"$ref": f"#/$defs/{name}"}
