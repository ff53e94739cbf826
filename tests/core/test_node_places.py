"""From the answers of a Node's agent to places: containers, lines that add to them, lines of a function's source."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.runtime import inspector
from harness.runtime.counters import Growth
from harness.runtime.node import ranked
from harness.runtime.node_places import container_growth, lines_of, refined, search

SOURCE = """class Order {
  constructor (id) { this.id = id; this.text = `} ${id} {` }
}

class Hub {
  add (id) {
    const text = "a { that is not a brace" // } nor this
    const order = new Order(id)
    this.orders.set(id, order)
    return order
  }

  two () {
    this.left.push(1)
    this.right.push(2)
  }
}
"""
STACK = """Error
    at Map.set (node:internal/x:1:2)
    at Hub.add (file:///srv/hub.js:9:17)
    at Server.<anonymous> (/srv/app.js:20:3)"""


def grown(**more: object) -> dict[str, object]:
    one = {"type": "Map", "gain": 300, "item": "Order", "name": "Hub.orders", "file": "file:///srv/hub.js"}
    return {**one, "added": [[STACK, 200]], **more}


def test_a_container_is_named_and_the_line_that_adds_to_it_is_first() -> None:
    containers, lines = container_growth([grown()], 300, 200)
    (line,) = lines
    assert line.line() == "/srv/hub.js:9 in Hub.add: 1.00 elements per connection"
    assert [one.line() for one in containers] == [
        "`Order` in `Hub.orders`, a Map that gains 1.00 per connection"
    ]
    allocation = Growth("/srv/hub.js:9 in add", 0.4, "samples", "line", 40.0)
    timer = Growth("/srv/hub.js:30 in Hub.poll (Timeout)", 1.0, "handles", "resource")
    order = [one.site for one in ranked([timer], lines, containers, [allocation])]
    assert order == [timer.site, containers[0].site, line.site], "one line once, what was counted first"


@pytest.mark.parametrize(
    ("more", "sites"),
    [
        ({"name": "", "added": [[STACK, 200]]}, ["`Order` in a Map"]),
        ({"name": "", "file": "", "added": []}, ["`Order` in a Map"]),
        ({"name": "", "file": "", "added": [], "item": "Function"}, []),
        ({"name": "Agent.sockets", "file": "node:_http_agent", "added": []}, []),
        ({"name": "Pool.free", "file": "/srv/node_modules/pg/pool.js", "added": []}, []),
        (
            {"name": "globalThis.seen", "file": "globalThis", "added": []},
            ["`Order` in `globalThis.seen`, a Map"],
        ),
        ({"gain": 5}, []),
    ],
)
def test_a_container_counts_by_code_or_a_name_of_the_service(
    more: dict[str, object], sites: list[str]
) -> None:
    containers, _ = container_growth([grown(**more)], 300, 200)
    assert [one.site for one in containers] == sites


def test_a_function_ends_with_its_braces_whatever_its_texts_hold() -> None:
    assert lines_of(SOURCE, 6) == (6, 11)
    assert lines_of(SOURCE, 13) == (13, 16)
    assert lines_of(SOURCE, 2) == (2, 2)
    assert lines_of(SOURCE, 99) == (99, 99)


def test_the_line_of_a_function_is_the_one_that_makes_what_grew() -> None:
    assert search(SOURCE, 6, 11, ["Order"], []) == ([8], True)
    assert search(SOURCE, 6, 11, [], ["orders"]) == ([9], True)
    assert search(SOURCE, 6, 11, [], []) == ([9], False)
    assert search(SOURCE, 13, 16, [], []) == ([14, 15], False)


LISTENS = """  subscribe (response) {
    response.on('close', () => {})
    const later = 1
    this.bus
      .on("news", () => response.id)
  }"""


@pytest.mark.parametrize("holder", ["Hub.bus._events.news", "EventEmitter._events.news"])
def test_a_listener_is_added_where_the_event_is_listened_to(holder: str) -> None:
    assert search(LISTENS, 1, 6, [], [holder]) == ([5], True)
    assert search(LISTENS.replace("\n      .on", ".on"), 1, 5, [], ["Hub.bus._events"]) == ([4], True)
    assert search(LISTENS, 1, 6, [], ["Hub.orders"]) == ([2, 5], False)


def test_sampled_allocations_are_placed_by_the_source_and_what_is_ambiguous_says_its_lines(
    tmp_path: Path,
) -> None:
    file = tmp_path / "hub.js"
    file.write_text(SOURCE)

    def sampled(*frames: str) -> Growth:
        return Growth(frames[0], 0.5, "samples", "line", 50.0, frames)

    ambiguous = sampled(f"{file}:13 in Hub.two", "/srv/app.js:20")
    constructor = sampled(f"{file}:2 in Order", f"{file}:6 in Hub.add", "/srv/app.js:20")
    (containers, _) = container_growth([grown(name="", file="", added=[])], 300, 200)
    found = refined([ambiguous, constructor], containers)
    assert [one.site for one in found] == [f"{file}:8 in Hub.add", f"{file}:13 in Hub.two (lines 13-16)"]
    missing = sampled("/no/such/file.js:6 in Hub.add")
    assert refined([missing], containers) == [missing]


@pytest.mark.parametrize(
    ("arguments", "options", "port"),
    [
        (["node", "app.js"], "", None),
        (["node", "--inspect", "app.js"], "", 9229),
        (["node", "--inspect=127.0.0.1:9444", "app.js"], "", 9444),
        (["node", "--inspect-brk=9555", "app.js"], "", 9555),
        (["node", "app.js"], "--max-old-space-size=99 --inspect=localhost:1234", 1234),
        (["node", "--inspect=10.0.0.7:9229", "app.js"], "", None),
        (["node", "--inspect=0", "app.js"], "", None),
        (["node", "app.js"], "'unfinished", None),
    ],
)
def test_the_inspector_is_found_by_the_options_of_the_process(
    arguments: list[str], options: str, port: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "arguments", lambda _: arguments)
    monkeypatch.setattr(inspector, "environment", lambda _: {"NODE_OPTIONS": options})
    assert inspector.port_of(7) == port
