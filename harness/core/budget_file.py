"""Budgets as people write them (docs/budgets.md), read from plain TOML values. Pure: no file is opened here.

[budget]                              # every guard
retain = "5m"                         # growth that stays longer is a leak
fds = "0/connection"
memory = ["1 KiB/connection", "1 MiB/hour"]
[budget.ceilings]
fds = 500
[budget.require]                      # a pass must reach these bounds
memory = ["1 KiB/stream", "1 MiB/hour"]
[endpoint."/events"]                  # overrides [budget]
[profile.nightly]                     # overrides both
[[exception]]                         # overrides all, until it expires
metric = "fds/eventfd"
allow = "1/connection"
reason = "libzmq keeps one for each context"
expires = 2027-01-31
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.core.budget import Budget
from harness.core.errors import ConfigError
from harness.core.metric import METRICS, Key
from harness.core.units import MAX_TEXT, count, did_you_mean, duration, per_unit, size

Place = tuple[str | int, ...]
Where = Callable[[Place], str]
"""Where a value stands, for an error: ``budgets.toml, line 7``."""

SECTIONS = ("budget", "endpoint", "profile", "exception")
LEVELS = ("ceilings", "pools")
RETAIN = "retain"
REQUIRE = "require"
SUBTABLES = (*LEVELS, RETAIN, REQUIRE)
EXCEPTION_FIELDS = ("metric", "allow", "reason", "expires", "endpoint", "profile")
MEMORY_KINDS = ("anonymous", "uss", "rss", "heap-bytes", "external-bytes", "objects", "blocks")
FDS_KINDS = (
    "file", "deleted-file", "namespace", "device", "directory", "pipe", "memfd", "pidfd", "eventfd", "eventpoll",
    "timerfd", "signalfd", "inotify", "fanotify", "userfaultfd", "unix", "netlink", "packet", "udp", "tcp-listen",
    "tcp-in", "tcp-out", "close-wait",
)  # fmt: skip
SAME_NAME = 0.85  # similarity (difflib) from which on a kind of descriptors is a misspelling of a known one
_TABLE_OF = {
    "connection": "growth",
    "event": "per_event",
    "hour": "per_hour",
    "connected hour": "per_connected_hour",
}
_REQUIRED = {"connection": "require_stream", "hour": "require_hour"}


@dataclass(frozen=True, slots=True)
class Exemption:
    """One ``[[exception]]``: what is allowed beyond the budget, why, and until when (that day included).

    endpoint, profile: where it holds, None for everywhere. where: its place in the file.
    """

    metric: str
    budget: Budget
    allow: str
    reason: str
    expires: datetime.date
    endpoint: str | None = None
    profile: str | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class BudgetFile:
    """A whole file, checked. source: its name, for reports."""

    source: str
    common: Budget = field(default_factory=Budget)
    endpoints: Mapping[str, Budget] = field(default_factory=dict)
    profiles: Mapping[str, Budget] = field(default_factory=dict)
    exemptions: tuple[Exemption, ...] = ()


def parse(data: Mapping[str, Any], *, source: str, where: Where) -> BudgetFile:
    """Check every value. Raises ConfigError: place, value, what was expected, and the most similar valid name."""
    for name in data:
        if name not in SECTIONS:
            raise _wrong(where((name,)), f"table {name!r}", one_of(SECTIONS), did_you_mean(name, SECTIONS))
    profiles = _named_budgets(data.get("profile", {}), "profile", where)
    return BudgetFile(
        source=source,
        common=budget_of(data.get("budget", {}), ("budget",), where),
        endpoints=_named_budgets(data.get("endpoint", {}), "endpoint", where),
        profiles=profiles,
        exemptions=_exemptions(data.get("exception", []), where, profiles),
    )


def budget_of(table: Any, place: Place, where: Where) -> Budget:
    """One table of budgets: metric → "AMOUNT/UNIT" or a list of such; ``ceilings``, ``pools``, ``retain`` and
    ``require`` below it."""
    tables = (*_TABLE_OF.values(), *_REQUIRED.values(), *LEVELS, RETAIN)
    found: dict[str, dict[str, float]] = {name: {} for name in tables}
    for name, value in _table(table, place, where).items():
        here = (*place, name)
        if name == RETAIN:
            found[RETAIN] = _retain(value, here, where)
            continue
        if name == REQUIRE:
            found.update(_required(value, here, where))
            continue
        if name in LEVELS:
            for metric, level in _table(value, here, where).items():
                key = metric_name(metric, where((*here, metric)))
                found[name][_level_key(key)] = _level(key, level, where((*here, metric)))
            continue
        key = metric_name(name, where(here), SUBTABLES)
        for text in value if isinstance(value, list) else [value]:
            amount, per = growth(key, text, where(here))
            if key in found[_TABLE_OF[per]]:
                raise ConfigError(f"{where(here)}: {name} has two amounts per {per}; expected one")
            found[_TABLE_OF[per]][key] = amount
    return Budget(**found)


def _retain(value: Any, place: Place, where: Where) -> dict[str, float]:
    """Seconds for which growth may stay: one time for all metrics (``*``), or a table of metric → time."""
    if not isinstance(value, Mapping):
        return {"*": _time("retain", value, where(place))}
    found = {}
    for metric, time in value.items():
        here = where((*place, metric))
        key = metric if metric == "*" else metric_name(metric, here, ("*",))
        found[key] = _time(key, time, here)
    return found


def _required(value: Any, place: Place, where: Where) -> dict[str, dict[str, float]]:
    """The bounds that a pass must reach: metric → "AMOUNT/stream" or "AMOUNT/hour", or a list with one of each."""
    found: dict[str, dict[str, float]] = {table: {} for table in _REQUIRED.values()}
    for name, texts in _table(value, place, where).items():
        here = where((*place, name))
        key = _level_key(metric_name(name, here))
        for text in texts if isinstance(texts, list) else [texts]:
            amount, per = growth(name, text, here)
            if per not in _REQUIRED:
                raise _wrong(here, f"{name} {text!r} in require: per {per}", "a bound per stream or per hour")
            if not amount > 0:
                raise _wrong(
                    here, f"{name} {text!r} in require", "an amount above 0: no run can exclude all growth"
                )
            if key in found[_REQUIRED[per]]:
                raise ConfigError(f"{here}: {name} has two required bounds per {per}; expected one")
            found[_REQUIRED[per]][key] = amount
    return found


def _time(name: str, value: Any, where: str) -> float:
    """A time from 0 on, in seconds: a text such as ``5m``, or a number of seconds."""
    expected = "a time in quotes, such as '5m', or a number of seconds"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong(where, f"{name} = {value!r}", f"{expected}; in a table [….retain] one for each metric")
    if not isinstance(value, str):
        if not 0 <= value < float("inf"):
            raise _wrong(where, f"{name} = {value!r}", expected)
        return float(value)
    try:
        return duration(name, value, zero=True)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def growth(key: str, text: Any, where: str) -> tuple[float, str]:
    """``"1 KiB/connection"`` as (1024.0, "connection"). Bytes only where the metric is counted in bytes."""
    if not isinstance(text, str):
        raise _wrong(
            where,
            f"{key} = {text!r}",
            "an amount per connection, event, hour or connected hour, in quotes: '0/connection'",
        )
    unit = Key.parse(key).unit
    try:
        return per_unit(key, text, sized=unit == "B")
    except ConfigError as error:
        counted = "" if unit == "B" else f"; {key} is counted in {unit}"
        raise ConfigError(f"{where}: {error}{counted}") from None


def metric_name(name: str, where: str, others: Iterable[str] = ()) -> str:
    """A metric, or metric/kind. Raises ConfigError with the most similar valid name."""
    key = Key.parse(name)
    if key.metric not in METRICS:
        valid = [*METRICS, *others]
        raise _wrong(where, f"metric {name!r}", one_of(valid), did_you_mean(key.metric, valid))
    if "/" in name and not key.kind:
        raise _wrong(where, f"metric {name!r}", f"a kind after the slash, or {key.metric!r} alone")
    if key.metric == "fds" and key.kind.partition(":")[0] not in FDS_KINDS:
        # The kernel may have classes that this list lacks, so only a name close to a known one is refused.
        kind = key.kind[:MAX_TEXT]
        close = difflib.get_close_matches(kind, FDS_KINDS, n=1, cutoff=SAME_NAME)
        if close:
            raise _wrong(
                where, f"kind {key.kind!r} of fds", "a descriptor class", f"; did you mean {close[0]!r}?"
            )
    if key.metric == "memory" and key.kind and key.kind not in MEMORY_KINDS:
        near = did_you_mean(key.kind, MEMORY_KINDS)
        raise _wrong(where, f"kind {key.kind!r} of memory", one_of(MEMORY_KINDS), near)
    return name


def _named_budgets(tables: Any, section: str, where: Where) -> dict[str, Budget]:
    """The budgets of a section, by the name of their table. section: ``endpoint`` or ``profile``."""
    found = {}
    for name, table in _table(tables, (section,), where).items():
        if section == "endpoint" and not name.startswith("/"):
            raise _wrong(where((section, name)), f"endpoint {name!r}", "a path that begins with /", "")
        found[name] = budget_of(table, (section, name), where)
    return found


def _exemptions(entries: Any, where: Where, profiles: Iterable[str]) -> tuple[Exemption, ...]:
    if not isinstance(entries, list):
        raise _wrong(where(("exception",)), "[exception]", "[[exception]], one for each")
    found = tuple(_exemption(entry, ("exception", index), where) for index, entry in enumerate(entries))
    for index, one in enumerate(found):
        # An exception for an unknown profile or a malformed path would silently have no effect.
        if one.profile is not None and one.profile not in profiles:
            here, near = where(("exception", index, "profile")), did_you_mean(one.profile, profiles)
            raise _wrong(
                here, f"profile = {one.profile!r}", f"a [profile] of this file: {one_of(profiles)}", near
            )
        if one.endpoint is not None and not one.endpoint.startswith("/"):
            here = where(("exception", index, "endpoint"))
            raise _wrong(here, f"endpoint = {one.endpoint!r}", "a path that begins with /")
    return found


def _exemption(entry: Any, place: Place, where: Where) -> Exemption:
    """One ``[[exception]]``, checked. Raises ConfigError for an unknown, missing or empty field."""
    table = _table(entry, place, where)
    for name in table:
        if name not in EXCEPTION_FIELDS:
            near = did_you_mean(name, EXCEPTION_FIELDS)
            raise _wrong(where((*place, name)), f"{name!r} in [[exception]]", one_of(EXCEPTION_FIELDS), near)
    for name in ("metric", "allow", "reason", "expires"):
        if name not in table:
            raise ConfigError(
                f"{where(place)}: an exception without {name!r}; expected metric, allow, reason and expires"
            )
    for name in ("metric", "allow", "reason", "endpoint", "profile"):
        if name in table and (not isinstance(table[name], str) or not table[name].strip()):
            raise _wrong(where((*place, name)), f"{name} = {table[name]!r}", "a string that is not empty")
    metric = metric_name(table["metric"], where((*place, "metric")))
    amount, per = growth(metric, table["allow"], where((*place, "allow")))
    return Exemption(
        metric=metric,
        budget=Budget(**{_TABLE_OF[per]: {metric: amount}}),
        allow=table["allow"],
        reason=table["reason"].strip(),
        expires=_date(table["expires"], where((*place, "expires"))),
        endpoint=table.get("endpoint"),
        profile=table.get("profile"),
        where=where((*place, "expires")),
    )


def _date(value: Any, where: str) -> datetime.date:
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise _wrong(where, f"expires = {value!r}", "a date such as 2027-01-31") from None


def _level(key: str, value: Any, where: str) -> float:
    """A ceiling or a pool: a number, or for bytes a size in quotes."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ConfigError(f"{key} = {value!r}: expected a number, or a size such as '256 MiB'")
        if isinstance(value, str):
            return size(key, value) if Key.parse(key).unit == "B" else count(key, value)
        if not 0 <= value < float("inf"):
            raise ConfigError(f"{key} = {value!r}: expected a number from 0 on")
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return float(value)


def _level_key(key: str) -> str:
    """The key of a ceiling. Memory has no total: its level is the anonymous memory."""
    return "memory/anonymous" if key == "memory" else key


def _table(value: Any, place: Place, where: Where) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        name = ".".join(map(str, place))
        raise _wrong(where(place), f"{name} = {value!r}", f"a table: [{name}]")
    return value


def _wrong(where: str, what: str, expected: str, near: str = "") -> ConfigError:
    return ConfigError(f"{where}: {what}: expected {expected}{near}")


def one_of(names: Iterable[str]) -> str:
    """The names, for the text of an error."""
    listed = list(names)
    if not listed:
        return "none, for there is none"
    return listed[0] if len(listed) == 1 else "one of " + ", ".join(listed)
