"""The behaviour that a service's argument names.

A leak is written ``THING@DRIVER`` or ``THING@DRIVER/N`` (every N-th time): ``eventfd@connection``, ``file@abort``,
``thread@event/10``. A behaviour is a name of BEHAVIOURS, or one of PATTERNS followed by its figures: ``release-10``.
Several are joined by ``+``: ``release-10+pipe@connection``.

Drivers: ``connection`` (a request was read), ``answered`` (the head of a response was sent), ``event`` (an event was
sent), ``time`` (20 times a second, clients or not), ``abort`` (the client reset the connection), ``early`` (it did so
before its answer), ``half-close`` (it shut its side and continued to read), ``slow`` (it did not read), ``timeout``
(the broker did not answer).
"""

from __future__ import annotations

from collections.abc import Callable

from behaviours import BEHAVIOURS, Behaviour, Leak, Several
from patterns import PATTERNS
from things import THINGS

DRIVERS = ("connection", "answered", "event", "time", "abort", "early", "half-close", "slow", "timeout")


def of(text: str, **own: Callable[[], None]) -> Behaviour:
    """The behaviour that an argument names. own: things of the runtime, by name with ``_`` for ``-``.

    Raises SystemExit naming what would have been known.
    """
    behaviours = [_one(part, own) for part in text.split("+")]
    return behaviours[0] if len(behaviours) == 1 else Several(behaviours)


def _one(text: str, own: dict[str, Callable[[], None]]) -> Behaviour:
    thing, at, driver = text.partition("@")
    if not at:
        return _named(thing)
    driver, _, every = driver.partition("/")
    things = {**THINGS, **{name.replace("_", "-"): make for name, make in own.items()}}
    if thing not in things or driver not in DRIVERS or not (every or "1").isdigit():
        known = f"things: {', '.join(things)}; drivers: {', '.join(DRIVERS)}"
        raise SystemExit(f"{text!r}: expected THING@DRIVER or THING@DRIVER/N; {known}")
    return Leak(things[thing], driver, int(every or 1))


def _named(text: str) -> Behaviour:
    if text in BEHAVIOURS:
        return BEHAVIOURS[text]()
    words = text.split("-")
    figures: list[int] = []
    while words and words[-1].isdigit():
        figures.insert(0, int(words.pop()))
    make = PATTERNS.get("-".join(words))
    try:
        if make is not None:
            return make(*figures)
    except TypeError:
        pass  # too few figures, or too many
    known = ", ".join([*BEHAVIOURS, *(f"{name}-N" for name in PATTERNS)])
    raise SystemExit(f"{text!r}: no such behaviour; expected THING@DRIVER or one of {known}")
