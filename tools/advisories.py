"""Known vulnerabilities of pinned packages, from an export of advisories in the OSV format (osv.dev, schema 1.6).

Pure: advisories and pins in, matches out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ECOSYSTEM = "PyPI"


@dataclass(frozen=True, slots=True)
class Match:
    """One advisory that names one pinned version. fixed: versions that are not affected any more."""

    package: str
    version: str
    advisory: str
    summary: str
    fixed: tuple[str, ...]


def matches(pins: Mapping[str, str], advisories: Iterable[Mapping[str, Any]]) -> list[Match]:
    """Every advisory that affects a pin, by package. pins: canonical name → version. Withdrawn ones are left out."""
    found = []
    for advisory in advisories:
        if advisory.get("withdrawn"):
            continue
        for affected in advisory.get("affected", ()):
            package = affected.get("package", {})
            name = canonicalize_name(str(package.get("name", "")))
            if package.get("ecosystem") != ECOSYSTEM or name not in pins:
                continue
            if _affects(affected, Version(pins[name])):
                found.append(
                    Match(
                        name,
                        pins[name],
                        str(advisory.get("id")),
                        str(advisory.get("summary", ""))[:100],
                        tuple(_events(affected, "fixed")),
                    )
                )
    return sorted(set(found), key=lambda match: (match.package, match.advisory))


def _affects(affected: Mapping[str, Any], version: Version) -> bool:
    """By the list of versions, else by the ranges: introduced ≤ version < fixed, or ≤ last_affected."""
    if any(_version(text) == version for text in affected.get("versions", ())):
        return True
    return any(
        _in_range(span.get("events", ()), version)
        for span in affected.get("ranges", ())
        if span.get("type") == "ECOSYSTEM"
    )


def _in_range(events: Iterable[Mapping[str, str]], version: Version) -> bool:
    inside = False
    for event in events:
        for kind, text in event.items():
            bound = Version("0") if text == "0" else _version(text)
            if bound is None:
                continue
            if kind == "introduced" and version >= bound:
                inside = True
            elif (kind == "fixed" and version >= bound) or (kind == "last_affected" and version > bound):
                inside = False
    return inside


def _events(affected: Mapping[str, Any], kind: str) -> list[str]:
    return sorted(
        {
            event[kind]
            for span in affected.get("ranges", ())
            if span.get("type") == "ECOSYSTEM"
            for event in span.get("events", ())
            if kind in event
        }
    )


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
