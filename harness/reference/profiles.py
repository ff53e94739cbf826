from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    name: str
    defects: tuple
    mitigations: tuple
    summary: str = ""
    expected: str = ""


UP = ("shared-socket", "abandoned-check", "unseen-disconnect", "no-flush")
ALL = (
    "stream-registry",
    "circuit-breaker",
    "graceful-degradation",
    "deadlines",
    "simple-writes",
    "pool",
    "serialize",
    "explicit-close",
    "http-fallback",
    "isolate",
    "socket-limit",
    "bounded-history",
)
DEFAULT = "fixed"
PROFILES = {
    p.name: p
    for p in [
        Profile("bare", (), ()),
        Profile("original", ("socket-per-check",), ()),
        Profile("upstream", UP, ()),
        Profile("solution-1", UP, ("stream-registry", "circuit-breaker", "deadlines")),
        Profile(
            "solution-2", UP, ("stream-registry", "circuit-breaker", "deadlines", "graceful-degradation")
        ),
        Profile(
            "solution-3",
            UP,
            ("stream-registry", "circuit-breaker", "deadlines", "graceful-degradation", "simple-writes"),
        ),
        Profile("fixed", (), ALL),
    ]
}


def named(n):
    return PROFILES[n]


def catalogue():
    return {"defects": [], "mitigations": []}
