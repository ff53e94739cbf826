"""The syntax of faults and orders, and the message of each mistake."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_broker import control
from fake_broker.fault import FAULTS
from fake_broker.spec import MATCH_KEYS, Spec, SpecError, catalogue, describe, parse, parse_words


class Target:
    """Records the orders that it gets."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    def stats(self) -> dict[str, Any]:
        return {"peers": 3}

    def add_fault(self, spec: Spec) -> int:
        self.received.append(spec)
        return 7

    def remove_fault(self, number: int) -> None:
        self.received.append(("remove", number))

    def clear(self) -> None:
        self.received.append("clear")

    def silence(self, silent: bool) -> None:
        self.received.append(("silence", silent))

    def release(self) -> int:
        return 2

    def stop(self) -> None:
        self.received.append("stop")


def ask(raw: Any, target: Target | None = None) -> dict[str, Any]:
    data = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    answer: dict[str, Any] = json.loads(control.answer(data, target or Target()))
    return answer


def test_every_order_is_carried_out() -> None:
    target = Target()
    assert ask({"command": "stats"}, target) == {"ok": True, "peers": 3}
    assert ask({"command": "fault", "fault": "latency", "delay": 1, "nth": 2}, target) == {
        "ok": True,
        "id": 7,
    }
    assert ask({"command": "release"}, target) == {"ok": True, "released": 2}
    for order in ({"command": "clear"}, {"command": "clear", "id": 7}, {"command": "silence"}):
        assert ask(order, target) == {"ok": True}
    for command in ("resume", "ping", "stop"):
        assert ask({"command": command}, target) == {"ok": True}
    spec, *rest = target.received
    assert describe(spec.fault, spec.match) == {"fault": "latency", "delay": 1.0, "nth": 2}
    assert rest == ["clear", ("remove", 7), ("silence", True), ("silence", False), "stop"]
    assert {f["fault"] for f in ask({"command": "faults"})["faults"]} == set(FAULTS)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (b"", "this is not JSON"),
        (b"\xff\xfe", "this is not JSON"),
        (b"[" * 100_000, "this is not JSON"),
        (b"1" * 10_000, "this is not JSON"),
        ([1], "a JSON list; expected an object"),
        ({}, "unknown command None: expected one of stats"),
        ({"command": 3}, "unknown command 3: expected one of stats"),
        ({"command": "stat"}, "unknown command 'stat': did you mean 'stats'?"),
        ({"command": "stats", "x": 1}, "command 'stats' has no key 'x': it takes none"),
        ({"command": "clear", "nr": 1}, "command 'clear' has no key 'nr': expected only id"),
        ({"command": "clear", "id": "1"}, "'id' is '1'; expected the number that 'fault' answered"),
        ({"command": "clear", "id": True}, "'id' is True; expected the number"),
        ({"command": "fault"}, "'fault' is None; expected the name of a fault"),
        ({"command": "fault", "fault": "silense"}, "unknown fault 'silense': did you mean 'silence'?"),
        (
            {"command": "fault", "fault": "latency", "dely": 1},
            "has no parameter 'dely': did you mean 'delay'?",
        ),
        (
            {"command": "fault", "fault": "latency", "delay": "1"},
            "'delay' is '1'; expected a number from 0 to",
        ),
        ({"command": "fault", "fault": "latency", "delay": -1}, "'delay' is -1; expected a number from 0 to"),
        ({"command": "fault", "fault": "drop", "nth": 1.5}, "'nth' is 1.5; expected a whole number"),
        ({"command": "fault", "fault": "drop", "nth": True}, "'nth' is True; expected a whole number"),
        ({"command": "fault", "fault": "drop", "times": 10**400}, "expected a whole number"),
        ({"command": "fault", "fault": "drop", "probability": 1.1}, "expected a number from 0 to 1"),
        ({"command": "fault", "fault": "error-code", "code": "\ud800"}, "expected text that UTF-8 can carry"),
        ({"command": "fault", "fault": "error-code", "code": "5" * 256}, "expected text of at most 255"),
        ({"command": "fault", "fault": "drop", "identity": "0x1"}, "expected hex digits"),
        ({"command": "fault", "fault": "drop", "service": 3}, "'service' is 3; expected text"),
        (b'{"command": "fault", "fault": "latency", "delay": NaN}', "'delay' is nan; expected a number"),
        (b'{"command": "fault", "fault": "latency", "delay": Infinity}', "'delay' is inf; expected a number"),
        ({"command": "fault", "fault": "empty-body", "missing": 1}, "'missing' is 1; expected true or false"),
        ({"command": "fault", "fault": "delimiter", "change": "extr"}, "did you mean 'extra'?"),
        ({"command": "fault", "fault": "silence", "message": "FINAL"}, "fault 'silence' acts on REQUEST"),
        (
            {"command": "fault", "fault": "unbind", "message": "FINAL"},
            "acts on no message: leave 'message' out",
        ),
        ({"command": "fault", "fault": "drop", "after": 2, "until": 1}, "expected after < until"),
    ],
)
def test_a_mistake_is_reported_and_changes_nothing(order: Any, expected: str) -> None:
    target = Target()
    answer = ask(order, target)
    assert answer["ok"] is False
    assert expected in answer["error"]
    assert "\n" not in answer["error"]
    assert len(answer["error"]) < 1000
    assert target.received == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["command", "fault", "id", "delay", "service", "nth", "until", "code"]) | st.text(
    max_size=5
)
orders = st.dictionaries(keys, st.sampled_from([*control.COMMANDS, *FAULTS]) | json_values, max_size=5)


@given(st.binary(max_size=60) | orders.map(lambda o: json.dumps(o).encode()))
def test_any_bytes_get_an_answer(raw: bytes) -> None:
    assert isinstance(ask(raw)["ok"], bool)


def test_words_of_the_command_line() -> None:
    spec = parse_words("latency,delay=0.2,service=state,nth=3")
    assert describe(spec.fault, spec.match) == {
        "fault": "latency",
        "delay": 0.2,
        "service": "state",
        "nth": 3,
    }
    assert describe(*_parts(parse_words('{"fault": "drop", "every": 2}'))) == {"fault": "drop", "every": 2}
    # A code is text, also when it looks like a number.
    assert parse_words("error-code,code=404").fault.code == "404"  # type: ignore[attr-defined]
    for words in ("latency,delay", "{", "", "latency,delay=fast", "=,="):
        with pytest.raises(SpecError):
            parse_words(words)


def _parts(spec: Spec) -> tuple[Any, Any]:
    return spec.fault, spec.match


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_is_documented_and_sound(name: str) -> None:
    kind = FAULTS[name]
    assert kind.group in {"reply", "malformed", "oversize", "heartbeat", "lifecycle", "transport", "capacity"}
    assert kind.__doc__
    own = [f.name for f in fields(kind) if f.init]  # type: ignore[arg-type]
    assert not set(own) & set(MATCH_KEYS), "a parameter hides a key of the match"
    spec = parse({"fault": name})
    assert describe(spec.fault, spec.match) == {"fault": name}
    (entry,) = [e for e in catalogue() if e["fault"] == name]
    assert all(p["meaning"] for p in entry["parameters"].values())
