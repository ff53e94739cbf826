"""How much growth is allowed, and which ceilings hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Budget:
    """Allowed growth. Keys are ``str(Key)`` or a bare metric name (all its kinds).

    growth: units per connection allowed (default 0; noisy memory has 128 B, see ``judge_memory``).
    per_event, per_hour: likewise. ceilings: greatest level allowed. pools: units that may stay for good
    whatever the load, such as the slots of a slowly filling pool; up to there growth is no leak.
    """

    growth: Mapping[str, float] = field(default_factory=dict)
    per_event: Mapping[str, float] = field(default_factory=dict)
    per_hour: Mapping[str, float] = field(default_factory=dict)
    ceilings: Mapping[str, float] = field(default_factory=dict)
    pools: Mapping[str, float] = field(default_factory=dict)
