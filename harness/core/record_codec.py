"""A run as plain, JSON-safe values and back, and the published result form (``--json``).

The same record always gives the same text, byte for byte: keys are sorted, every declared float is
written as a float, ``Key`` is its string, and numbers that JSON does not have (an unlimited ceiling) are
written as strings. Reading what was written gives an equal record, so a run can be judged again.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from cattrs import ClassValidationError, Converter, transform_error
from cattrs.gen import make_dict_structure_fn
from cattrs.v import format_exception

from harness.core.earlier_records import bound_of, note_of, place_of, renamed
from harness.core.errors import EXIT_INCONCLUSIVE, WORST_EXIT_FIRST, ConfigError
from harness.core.metric import Key
from harness.core.note import Note
from harness.core.record import SCHEMA_VERSION, Place, RunRecord, Trial
from harness.core.verdict import Bound, Outcome, Verdict

NOT_JUDGED = Verdict(Outcome.INCONCLUSIVE, "not judged: the run ended before its verdict")
PART_BYTES = 64 * 1024  # bytes that are written at once


def _plain_float(value: float) -> float | str:
    """A float as JSON can carry it."""
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def _json_value(value: object) -> object:
    """A value of an open mapping (``machine``), reduced to JSON's own types."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, Mapping):
        return {str(key): _json_value(part) for key, part in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_json_value(part) for part in value]
    return str(value)


def _converter() -> Converter:
    converter = Converter()
    converter.register_unstructure_hook(Key, str)
    converter.register_structure_hook(Key, lambda text, _: Key.parse(str(text)))
    # Keys of JSON objects are strings; reading accepts both.
    converter.register_unstructure_hook_func(
        partial(operator.eq, Mapping[int, int]), lambda counts: {str(name): counts[name] for name in counts}
    )
    converter.register_unstructure_hook(float, _plain_float)  # float("Infinity") reads it back
    converter.register_unstructure_hook_func(partial(operator.is_, object), _json_value)
    converter.register_structure_hook_func(partial(operator.is_, object), lambda value, _: value)
    read_place = make_dict_structure_fn(Place, converter)
    converter.register_structure_hook(
        Place,
        lambda value, kind: read_place(
            place_of(value) if isinstance(value, Mapping) and "rate" not in value else value, kind
        ),
    )
    read_bound = make_dict_structure_fn(Bound, converter)
    converter.register_structure_hook(
        Bound,
        lambda value, kind: read_bound(
            bound_of(value) if isinstance(value, Mapping) and "retained" not in value else value, kind
        ),
    )
    read_note = make_dict_structure_fn(Note, converter)
    converter.register_structure_hook(
        Note, lambda value, kind: note_of(value) if isinstance(value, str) else read_note(value, kind)
    )
    return converter


_CONVERTER = _converter()


def to_dict(record: RunRecord) -> dict[str, Any]:
    """The record as dicts, lists, strings and numbers."""
    plain: dict[str, Any] = _CONVERTER.unstructure(record, unstructure_as=RunRecord)
    return plain


def from_dict(data: Mapping[str, Any]) -> RunRecord:
    """Inverse of ``to_dict``. Unknown keys are ignored. Raises ConfigError for a ``schema_version``
    this harness does not know, and for data that is not a record, naming the place."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"a run record is a JSON object; got a {type(data).__name__}")
    version = data.get("schema_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ConfigError(f"schema_version {version!r}: expected a whole number from 1 to {SCHEMA_VERSION}")
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"schema_version {version}: this harness reads records up to {SCHEMA_VERSION}; "
            "use the version of the harness that wrote it, or a newer one"
        )
    try:
        return _CONVERTER.structure(renamed(data), RunRecord)
    except ClassValidationError as error:
        found = transform_error(error, path="record", format_exception=_describe)
        raise ConfigError(f"not a run record: {found[0]}") from None


def _describe(error: BaseException, kind: type | None) -> str:
    """What is wrong with one value; ``transform_error`` adds where."""
    return str(error) if type(error) in (ValueError, TypeError) else format_exception(error, kind)


def dumps(data: Mapping[str, Any], *, indent: int | None = None) -> str:
    """JSON text with sorted keys, ASCII only; the same data always gives the same text."""
    return json.dumps(
        data,
        sort_keys=True,
        allow_nan=False,
        indent=indent,
        separators=(",", ": ") if indent else (",", ":"),
    )


def parts(data: Mapping[str, Any], *, indent: int) -> Iterator[bytes]:
    """The text of ``dumps`` in pieces of about PART_BYTES: as a whole, that of a long run takes nine times its size in
    memory after every cycle."""
    encoder = json.JSONEncoder(sort_keys=True, allow_nan=False, indent=indent, separators=(",", ": "))
    held: list[str] = []
    length = 0
    for piece in encoder.iterencode(data):
        held.append(piece)
        length += len(piece)
        if length >= PART_BYTES:
            yield "".join(held).encode()
            held, length = [], 0
    yield "".join(held).encode()


def result_dict(trial: Trial, *, run_id: str | None = None) -> dict[str, Any]:
    """The published form of one trial's verdict (docs/architecture.md; ``harness schema``)."""
    verdict = trial.verdict or NOT_JUDGED
    plain: dict[str, Any] = _CONVERTER.unstructure(verdict, unstructure_as=Verdict)
    ledgers = [o.ledger for o in trial.observations]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "trial": trial.name,
        "exit_code": verdict.exit_code,
        **plain,
        "target": _CONVERTER.unstructure(trial.target),
        "measured": {
            "cycles": len(ledgers),
            "connections": sum(ledger.opened for ledger in ledgers),
            "failed": sum(ledger.failed for ledger in ledgers),
            "events": sum(ledger.events for ledger in ledgers),
            "seconds": _plain_float(max(0.0, trial.ended - trial.started)),
        },
    }


def run_dict(record: RunRecord) -> dict[str, Any]:
    """The published form of a whole run: the record itself (``from_dict`` reads it back), and beside it
    the result: of the one trial, or of several the worst outcome and all findings and bounds, each with
    its ``trial``.
    """
    results = [result_dict(trial, run_id=record.run_id) for trial in record.trials]
    if len(results) == 1:
        top = results[0]
    else:
        # Outcomes are declared from the worst to the best.
        worst = min(results, key=lambda r: list(Outcome).index(Outcome(r["outcome"])), default=None)
        top = {
            "trial": worst["trial"] if worst else None,
            "outcome": worst["outcome"] if worst else NOT_JUDGED.outcome.value,
            "exit_code": _worst_exit(r["exit_code"] for r in results),
            "explanation": worst["explanation"] if worst else "no trial was run",
            "advice": worst["advice"] if worst else "",
            "waiting": worst["waiting"] if worst else None,
            "crash": worst["crash"] if worst else None,
            "stalled": worst["stalled"] if worst else None,
            "also": worst["also"] if worst else [],
            "warnings": [f"{r['trial']}: {text}" for r in results for text in r["warnings"]],
            "findings": [{"trial": r["trial"], **part} for r in results for part in r["findings"]],
            "bounds": [{"trial": r["trial"], **part} for r in results for part in r["bounds"]],
        }
    return {**top, **to_dict(record), "results": results}


def _worst_exit(codes: Iterable[int]) -> int:
    met = set(codes)
    return next((code for code in WORST_EXIT_FIRST if code in met), EXIT_INCONCLUSIVE)
