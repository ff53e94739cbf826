"""Everything that the reference service can do, as ``--describe`` prints it."""

from __future__ import annotations

from dataclasses import asdict
from types import ModuleType
from typing import Any

from harness.reference import defects, mitigations
from harness.reference.blueprint import module, names
from harness.reference.claims import CLAIMS
from harness.reference.profiles import PROFILES
from harness.reference.variations import VARIATIONS

SCHEMA_VERSION = 1


def catalogue() -> dict[str, Any]:
    """The catalogue as ``--describe`` prints it: ``profiles`` and ``variations`` (lists of rows), ``claims``
    (what tests each claim of the analysis), ``defects`` and ``mitigations`` (name, summary and, for defects, what must
    be seen)."""

    def entry(package: ModuleType, name: str) -> dict[str, str]:
        part = module(package, name)
        shown = {"name": name, "summary": part.SUMMARY}
        return shown | ({"seen": part.SEEN} if package is defects else {})

    return {
        "schema_version": SCHEMA_VERSION,
        "profiles": [asdict(profile) for profile in PROFILES.values()],
        "variations": [asdict(variation) for variation in VARIATIONS],
        "claims": [asdict(claim) for claim in CLAIMS],
        "defects": [entry(defects, name) for name in names(defects)],
        "mitigations": [entry(mitigations, name) for name in names(mitigations)],
    }
