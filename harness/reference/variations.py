"""Profiles under other conditions, for claims that no profile tests as it is.

A variation runs the service of another profile with more arguments, another broker or another load. It is not a profile
of the service: ``--profile`` does not know it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.reference.loads import FEW, HOLDING, RAMP, SLOW_TICKS, STAYING
from harness.reference.profile import BOUNDED, LEAKING, STALLED, STAYS, STOPPED, Profile
from harness.reference.profiles import PROFILES


@dataclass(frozen=True, slots=True)
class Variation:
    """profile: its row, under the variation's own name. of: the profile whose service runs. arguments: more words of
    its command line. real_time: the original intervals and timeouts."""

    profile: Profile
    of: str
    arguments: tuple[str, ...] = ()
    real_time: bool = False


def _remains(name: str) -> Variation:
    """What a solution still leaks once the crash is prevented: a pool gives each check a socket of its own."""
    return Variation(
        replace(
            PROFILES[name],
            name=f"{name}-with-pool",
            summary=f"{name} and a pool of sockets",
            expected=LEAKING,
            explanation=STAYS,
            signatures=(),
            in_log="",
            returncodes=STOPPED,
            load=STAYING,
            times=SLOW_TICKS,
            also=() if PROFILES[name].streams else (STALLED,),
        ),
        name,
        (
            *("--mitigation", "pool"),
            *(
                word
                for name, value in SLOW_TICKS.items()
                for word in ("--" + name.replace("_", "-"), str(value))
            ),
        ),
    )


VARIATIONS: tuple[Variation, ...] = (
    Variation(
        replace(
            PROFILES["bare"],
            name="amplification",
            summary="1, 2, 4, 8 and 16 clients of one endpoint, ticks of 1 s",
            explanation="every client asks every component at every tick",
            load=RAMP,
        ),
        "bare",
        ("--time-scale", "0.2"),
    ),
    Variation(
        replace(
            PROFILES["upstream"], name="upstream-real-time", summary="upstream, receives time out after 30 s"
        ),
        "upstream",
        real_time=True,
    ),
    _remains("solution-1"),
    _remains("solution-2"),
    _remains("solution-3"),
    Variation(
        replace(
            PROFILES["only-socket-per-check"],
            name="dangling-sockets",
            summary="a DEALER for each check, never closed; stopped before descriptors run out",
            expected=LEAKING,
            explanation="the sockets stay open, and are listed at the orderly end",
            signatures=("dangling-socket",),
            in_log=r"dangling 'DEALER' socket created at",
            returncodes=STOPPED,
            load=FEW,
        ),
        "only-socket-per-check",
    ),
    Variation(
        replace(
            PROFILES["bare"],
            name="errors-handled",
            summary="a socket per check, closed after a timeout too",
            broker="flapping",
            expected=BOUNDED,
            explanation="the socket is closed whether or not the check succeeds: nothing stays",
            load=replace(HOLDING, connections=24, cycles=12, sensitivity=0.05),
        ),
        "bare",
        ("--timeout", "0.1"),
    ),
)
