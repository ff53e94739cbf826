"""A run of all claims as plain values, and as JSON: its state while it runs, and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cattrs import ClassValidationError, Converter, transform_error

from harness.core.claims import Claim, Conclusion, Row, conclude, needed, order
from harness.core.errors import ConfigError
from harness.core.measurement import Measurement

SCHEMA_VERSION = 1
NOT_REACHED = "the run has not reached them"


@dataclass(frozen=True, slots=True)
class ClaimsRecord:
    """tests: how each trial is made, in a few words. expected: outcome that each profile describes. definitions: a
    digest of what each trial runs; repeats of another one are not repeats. measured: by trial, in the order of the
    repeats. unmeasured: why repeats are missing. resumed: how many times the run was resumed."""

    run_id: str
    started_at: str  # ISO 8601, UTC
    machine: Mapping[str, Any]
    harness_version: str
    claims: tuple[Claim, ...]
    tests: Mapping[str, str]
    expected: Mapping[str, str]
    definitions: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, tuple[Measurement, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    jobs: int = 1
    resumed: int = 0
    unmeasured: str = NOT_REACHED
    schema_version: int = SCHEMA_VERSION

    def rows(self) -> list[Row]:
        """Every claim with its conclusion."""
        return [conclude(claim, self.measured, self.unmeasured) for claim in self.claims]

    def repeats_done(self) -> dict[str, int]:
        """Repeats that were measured, by trial."""
        return {name: len(found) for name, found in self.measured.items()}

    def remaining(self) -> list[tuple[str, int]]:
        """(trial, repeat) still to be measured, in their order."""
        return order(needed(self.claims), self.repeats_done())

    def with_measurement(self, name: str, measurement: Measurement) -> ClaimsRecord:
        """The same with one more repeat of a trial."""
        return replace(self, measured={**self.measured, name: (*self.measured.get(name, ()), measurement)})

    def unexpected_results(self) -> list[str]:
        """Profiles of which a repeat did not end as described, one line each."""
        lines = []
        for name, found in sorted(self.measured.items()):
            other = [one for one in found if not one.expected]
            if other:
                lines.append(
                    f"{name}: {len(other)} of {len(found)} repeats not as described ({self.expected.get(name, '?')}): "
                    f"{other[0].note}"
                )
        return lines


_CONVERTER = Converter(forbid_extra_keys=False)
_CONVERTER.register_structure_hook(Any, lambda value, _: value)


def to_dict(record: ClaimsRecord) -> dict[str, Any]:
    """JSON-safe values. ``rows`` holds the conclusions for readers of the file; ``from_dict`` ignores them."""
    plain: dict[str, Any] = _CONVERTER.unstructure(record)
    return plain | {"rows": [_row(row) for row in record.rows()]}


def _row(row: Row) -> dict[str, Any]:
    return {"name": row.claim.name, "conclusion": row.conclusion.value, "reason": row.reason}


def from_dict(data: Mapping[str, Any]) -> ClaimsRecord:
    """The record again. Raises ConfigError for one that is not of this form."""
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"schema_version {version!r}: expected {SCHEMA_VERSION}; write it again: `harness reproduce --all`"
        )
    try:
        return _CONVERTER.structure(data, ClaimsRecord)
    except (ClassValidationError, KeyError, TypeError, ValueError) as error:
        found = transform_error(error) if isinstance(error, ClassValidationError) else [str(error)]
        raise ConfigError(f"not a record of claims: {found[0]}") from None


def structure_claims(rows: Sequence[Mapping[str, Any]]) -> tuple[Claim, ...]:
    """The claims as ``reference-service --describe`` lists them."""
    return tuple(_CONVERTER.structure(row, Claim) for row in rows)


def counts(rows: Sequence[Row]) -> dict[Conclusion, int]:
    """The number of claims with each conclusion, in the order of ``Conclusion``."""
    return {each: sum(row.conclusion is each for row in rows) for each in Conclusion}
