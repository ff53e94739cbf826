"""Which parts of a budget file apply to one guard, and which exceptions are in force."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from harness.core.budget import Budget, merge_budgets, shared
from harness.core.budget_file import BudgetFile, one_of
from harness.core.errors import ConfigError, OptionError
from harness.core.note import Note, NoteKind
from harness.core.units import did_you_mean


def applicable_budget(
    file: BudgetFile, *, endpoints: Iterable[str], profile: str | None, today: datetime.date
) -> tuple[Budget, tuple[Note, ...]]:
    """The budget of a guard of these paths, and a note for each exception in it.

    endpoints: paths as opened, query included; a table may leave the query out. Raises ConfigError for an
    unknown profile, and for an exception whose last day is past, so that its author is reminded of it.
    """
    expired = [exemption for exemption in file.exemptions if exemption.expires < today]
    if expired:
        first, more = expired[0], f" (and {len(expired) - 1} more)" if len(expired) > 1 else ""
        raise ConfigError(
            f"{first.where}: the exception for {first.metric} expired on {first.expires}{more}; its reason was: "
            f"{first.reason}; remove it, or set a new date"
        )
    if profile is not None and profile not in file.profiles:
        near = did_you_mean(profile, file.profiles)
        raise OptionError(
            "profile",
            profile,
            f"{file.source} has no [profile.{profile}]; expected {one_of(file.profiles)}{near}",
        )
    own = file.profiles[profile] if profile is not None else Budget()
    parts, notes = [], list[Note]()
    for path in dict.fromkeys(endpoints):
        # Each table overrides those before it: that of every guard, of the endpoint, of the profile, the exceptions.
        budget = merge_budgets(merge_budgets(file.common, _endpoint_budget(file, path)), own)
        for allowed in file.exemptions:
            endpoints_of_it = (None, path, _without_query(path))
            if allowed.profile not in (None, profile) or allowed.endpoint not in endpoints_of_it:
                continue
            budget = merge_budgets(budget, allowed.budget)
            text = f"exception until {allowed.expires}: {allowed.metric} {allowed.allow} ({allowed.reason})"
            data = {
                "metric": allowed.metric, "allow": allowed.allow, "expires": str(allowed.expires),
                "reason": allowed.reason,
            }  # fmt: skip
            notes.append(Note(NoteKind.BUDGET_EXCEPTION, text, data))
        parts.append(budget)
    return (shared(tuple(parts)) if parts else merge_budgets(file.common, own)), tuple(dict.fromkeys(notes))


def _endpoint_budget(file: BudgetFile, path: str) -> Budget:
    return file.endpoints.get(path) or file.endpoints.get(_without_query(path)) or Budget()


def _without_query(path: str) -> str:
    return path.partition("?")[0]
