"""Budgets: allowed growth and ceilings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.core.metric import Key
from harness.core.note import Note, NoteKind

RETENTION = 60.0  # seconds, the default: longer than most sessions and idle pools are kept


@dataclass(frozen=True, slots=True)
class Budget:
    """Allowed growth. Keys are ``str(Key)`` or a bare metric name (all its kinds of the same unit).

    growth: units per connection allowed (default 0; noisy memory has 128 B, see ``judge.memory``). per_event,
    per_hour: the same. per_connected_hour: growth allowed per client and hour while clients stay connected. ceilings:
    greatest level allowed. pools: units that may stay for good whatever the load, such as the slots of a slowly
    filling pool; growth up to there is not a leak. retain: seconds for which growth may stay before it is a leak,
    ``*`` for every metric. require_stream, require_hour: the bounds that a pass must reach, in units per answered
    stream and per hour (``harness.core.judge.required``).
    """

    growth: Mapping[str, float] = field(default_factory=dict)
    per_event: Mapping[str, float] = field(default_factory=dict)
    per_hour: Mapping[str, float] = field(default_factory=dict)
    ceilings: Mapping[str, float] = field(default_factory=dict)
    pools: Mapping[str, float] = field(default_factory=dict)
    per_connected_hour: Mapping[str, float] = field(default_factory=dict)
    retain: Mapping[str, float] = field(default_factory=dict)
    require_stream: Mapping[str, float] = field(default_factory=dict)
    require_hour: Mapping[str, float] = field(default_factory=dict)


TABLES = (
    "growth", "per_event", "per_hour", "ceilings", "pools", "per_connected_hour", "retain", "require_stream",
    "require_hour",
)  # fmt: skip


def merge_budgets(base: Budget, over: Budget) -> Budget:
    """``base`` with every entry of ``over`` added or replaced."""
    return Budget(**{name: {**getattr(base, name), **getattr(over, name)} for name in TABLES})


def shared(budgets: tuple[Budget, ...]) -> Budget:
    """One budget for endpoints that are opened in turn, equally often.

    Growth per connection is their mean, because each endpoint has an equal share of the connections. The lowest ceiling
    holds, because a level belongs to all of them. Of pools the largest holds, of retention times the longest, and of
    required bounds the strictest.
    """
    return Budget(
        growth=_mean([budget.growth for budget in budgets]),
        per_event=_mean([budget.per_event for budget in budgets]),
        per_hour=_most([budget.per_hour for budget in budgets]),
        ceilings=_least([budget.ceilings for budget in budgets]),
        pools=_most([budget.pools for budget in budgets]),
        per_connected_hour=_mean([budget.per_connected_hour for budget in budgets]),
        retain=_longest([budget.retain for budget in budgets]),
        require_stream=_least([budget.require_stream for budget in budgets]),
        require_hour=_least([budget.require_hour for budget in budgets]),
    )


Table = Mapping[str, float]


def retain_for(table: Table, key: str, default: float) -> float:
    """Seconds for which ``key`` may be retained: the entry of the key, of its metric, of ``*``, or ``default``."""
    return table.get(key, table.get(Key.parse(key).metric, table.get("*", default)))


def line_for(table: Table, key: Key) -> float | None:
    """The entry of a key, else that of its metric if both have the same unit; else None."""
    own = table.get(str(key))
    if own is not None or not key.kind:
        return own
    return table.get(key.metric) if Key(key.metric).unit == key.unit else None


def not_covered(budget: Budget, keys: Iterable[Key]) -> tuple[Note, ...]:
    """One note for each kind that the entry of its metric does not cover, because its unit differs."""
    notes = {}
    for key in keys:
        bare = Key(key.metric)
        tables = [
            (per, table) for per, table in _growths(budget) if key.metric in table and str(key) not in table
        ]
        if key.kind and bare.unit != key.unit and tables:
            per = tables[0][0]
            notes[key] = Note(
                NoteKind.BUDGET_GAP,
                f"budgets: {key.metric} per {per} is in {_unit(bare)} and does not cover {key}, which is counted in "
                f'{_unit(key)}; add a line of its own: "{key}" = "AMOUNT/{per}"',
                {"key": str(key)},
            )
    return tuple(notes.values())


def _growths(budget: Budget) -> tuple[tuple[str, Table], ...]:
    return (("connection", budget.growth), ("event", budget.per_event), ("hour", budget.per_hour))


def _unit(key: Key) -> str:
    return "bytes" if key.unit == "B" else key.unit


def _keys(tables: list[Table]) -> list[str]:
    return sorted({key for table in tables for key in table})


def _granted(table: Table, key: str) -> float:
    """The amount that a table grants a key: its own entry, else that of its metric if both have the same unit, else
    0."""
    return table.get(key, line_for(table, Key.parse(key)) or 0.0)


def _mean(tables: list[Table]) -> dict[str, float]:
    return {key: sum(_granted(table, key) for table in tables) / len(tables) for key in _keys(tables)}


def _most(tables: list[Table]) -> dict[str, float]:
    return {key: max(_granted(table, key) for table in tables) for key in _keys(tables)}


def _least(tables: list[Table]) -> dict[str, float]:
    return {key: min(table[key] for table in tables if key in table) for key in _keys(tables)}


def _longest(tables: list[Table]) -> dict[str, float]:
    """The longest time of each key. An endpoint without an entry has the default, which must not shorten the others."""
    return {key: max(retain_for(table, key, RETENTION) for table in tables) for key in _keys(tables)}
