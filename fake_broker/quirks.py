"""Deviations of a real broker from the RFCs that the fake one can take on, each alone switchable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Quirks:
    """blind_delimiter: the first frame is taken for the delimiter without a look. mute_without_body: a request
    without a body gets no reply. only_mmi_service: every other ``mmi.*`` is answered 501. code_in_last_frame: an
    MMI code replaces the last frame of the question's body, the others come back. keep_dead_busy: a worker that
    dies with a request in hand is never forgotten."""

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
