"""Deviations of real brokers from the RFCs that the fake one can emulate, each alone switchable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Quirks:
    """blind_delimiter: the first frame counts as the delimiter without a check. mute_without_body: a request without a
    body gets no reply. only_mmi_service: the reply to every other ``mmi.*`` is 501. code_in_last_frame: an MMI code
    replaces the last frame of the request's body, and the other frames are returned. keep_dead_busy: a worker that
    exits while it has a request is never dropped."""

    blind_delimiter: bool = False
    mute_without_body: bool = False
    only_mmi_service: bool = False
    code_in_last_frame: bool = False
    keep_dead_busy: bool = False


QUIRKS: Mapping[str, Quirks] = MappingProxyType(
    {
        "none": Quirks(),
        # plantd's broker, as the code of core/mdp/broker.go shows it.
        "plantd": Quirks(
            blind_delimiter=True,
            mute_without_body=True,
            only_mmi_service=True,
            code_in_last_frame=True,
            keep_dead_busy=True,
        ),
    }
)
