"""Edits a budget file that is maintained by hand: comments and order are kept, and every loosening is reported."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from harness.config import PROJECT
from harness.core.budget_file import BudgetFile
from harness.core.metric import Key

# Table of a Budget → the unit of its entries, as a budget file writes it after the slash.
PER = {
    "growth": "connection",
    "per_event": "event",
    "per_hour": "hour",
    "per_connected_hour": "connected hour",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One entry. table: of a Budget. before: None without an entry. after: units, or bytes."""

    table: str
    key: str
    before: float | None
    after: float

    @property
    def is_ceiling(self) -> bool:
        """Whether it is a ceiling rather than growth."""
        return self.table == "ceilings"

    @property
    def is_exception(self) -> bool:
        """Whether it is written as an exception, because it allows more growth than before."""
        return self.loosens and not self.is_ceiling

    @property
    def loosens(self) -> bool:
        """Whether it allows something that was not allowed before."""
        met = (math.inf if self.is_ceiling else 0.0) if self.before is None else self.before
        return self.after > met

    def text(self) -> str:
        """``fds per connection: none -> 1 (LOOSENS)``."""
        before = "none" if self.before is None else self._shown(self.before)
        what = f"ceiling of {self.key}" if self.is_ceiling else f"{self.key} per {PER[self.table]}"
        return f"{what}: {before} -> {self._shown(self.after)} ({'LOOSENS' if self.loosens else 'tightens'})"

    def _shown(self, value: float) -> str:
        """The value as text, with commas, and bytes with their unit."""
        text = f"{value:,.0f}" if value >= 1000 else f"{value:g}"
        return f"{text} B" if Key.parse(self.key).unit == "B" else text

    @property
    def number(self) -> float | int:
        """The new value, as an integer where possible."""
        return int(self.after) if self.after == int(self.after) else self.after


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason and the last day of exceptions. text: of new ones; existing reasons are kept. until: the last day."""

    text: str
    until: datetime.date


@dataclass(frozen=True, slots=True)
class Scope:
    """The tables of a file that apply to a run. paths: as opened. profile: its tables override the others. endpoints:
    the endpoints of the file that match; none if the file has no endpoints.
    """

    paths: tuple[str, ...]
    profile: str | None = None
    endpoints: tuple[str, ...] = ()

    @classmethod
    def of(cls, file: BudgetFile, paths: tuple[str, ...], profile: str | None) -> Scope:
        """The scope of a run in a file."""
        known = {*file.endpoints, *(one.endpoint for one in file.exemptions if one.endpoint is not None)}
        if not known:
            return cls(paths, profile)
        named = (path if path in known else path.partition("?")[0] for path in paths)
        return cls(paths, profile, tuple(dict.fromkeys(named)))

    @property
    def tables(self) -> tuple[tuple[str, ...], ...]:
        """The tables that apply: a profile overrides endpoints, and these override the common one."""
        if self.profile is not None:
            return (("profile", self.profile),)
        return tuple(("endpoint", name) for name in self.endpoints) or (("budget",),)

    def text(self, change: Change | None = None) -> str:
        """``[budget]``, ``[profile.nightly]``, ``[endpoint."/events"]``; an exception names both."""
        texts = [f'[endpoint."{name}"]' for name in self.endpoints]
        if self.profile is not None:
            both = texts if change is not None and change.is_exception else []
            texts = [f"[profile.{self.profile}]", *both]
        return " ".join(texts) or "[budget]"


def write(document: Any, path: Path, scope: Scope, changes: Iterable[Change], reason: Reason) -> None:
    """Put changes into a parsed TOML document. path: its name says whether budgets are below ``[tool.harness]``."""
    root = document
    if path.name == PROJECT:
        tool = document.setdefault("tool", tomlkit.table(is_super_table=True))
        root = tool.setdefault("harness", tomlkit.table(is_super_table=True))
    for change in changes:
        if not change.is_ceiling:
            if scope.profile is not None:
                _table(root, ("profile", scope.profile))  # an exception needs an existing profile
            for endpoint in scope.endpoints or (None,):
                _write_exception(root, scope.profile, endpoint, change, reason)
            continue
        for names in scope.tables:
            ceilings = _table(root, names).setdefault("ceilings", tomlkit.table())
            # Both names are the same ceiling, and a second entry would contradict the first.
            same = "memory" if change.key == "memory/anonymous" and change.key not in ceilings else change.key
            ceilings[same] = change.number


def _table(root: Any, names: tuple[str, ...]) -> Any:
    """The table of these names, which is made if the document has none. Tables above it get no header of their own."""
    table = root
    for index, name in enumerate(names):
        table = table.setdefault(name, tomlkit.table(is_super_table=index + 1 < len(names)))
    return table


def _write_exception(
    root: Any, profile: str | None, endpoint: str | None, change: Change, reason: Reason
) -> None:
    """Write an exception. The last matching exception of a metric applies, so an earlier one is moved to the end."""
    per = PER[change.table]
    allow = f"{change.number}/{per}"
    entries = root.setdefault("exception", tomlkit.aot())
    place = (change.key, profile, endpoint)
    why = reason.text
    for index, entry in enumerate(entries):
        same = (entry.get("metric"), entry.get("profile"), entry.get("endpoint")) == place
        if same and _unit(entry) == per:
            if not any(_overrides(later, place, per) for later in entries[index + 1 :]):
                entry["allow"], entry["expires"] = allow, reason.until
                return
            why = str(entry["reason"])
            del entries[index]
            break
    made = tomlkit.table()
    for name, value in (
        ("metric", change.key), ("allow", allow), ("profile", profile), ("endpoint", endpoint), ("reason", why),
    ):  # fmt: skip
        if value is not None:
            made[name] = value
    made["expires"] = reason.until
    entries.append(made)


def _unit(entry: Any) -> str:
    """The unit of an exception: ``connection`` of ``1/1000 connections``."""
    return str(entry["allow"]).rpartition(" ")[2].rpartition("/")[2].strip().removesuffix("s")


def _overrides(entry: Any, place: tuple[str, str | None, str | None], unit: str) -> bool:
    """Whether an existing exception applies to the same growth at the same place."""
    metric, profile, endpoint = place
    return (
        entry.get("metric") == metric
        and _unit(entry) == unit
        and entry.get("profile") in (None, profile)
        and (endpoint is None or entry.get("endpoint") in (None, endpoint))
    )
