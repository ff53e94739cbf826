"""Patterns of growth and what is said of them; that services really do so is proved in tests/edges."""

from __future__ import annotations

from harness.core.census_diff import difference, levels
from harness.core.metric import Key
from harness.core.recipe import explain, match, sentence
from harness.core.sample import Census


def rates(**each: float) -> dict[Key, float]:
    """``eventfd=1`` is ``fds/eventfd``; a name with two underscores is a metric's total."""
    return {Key(name[2:]) if name.startswith("__") else Key("fds", name): rate for name, rate in each.items()}


def test_the_sentence_names_the_port_and_the_cause() -> None:
    grown = {Key("fds"): 2.0, Key("fds", "eventfd"): 1.0, Key("fds", "tcp-out:9797"): 1.0}
    assert sentence(grown) == (
        "+1 eventfd and +1 tcp-out to port 9797 per connection: a ZeroMQ socket opened and never closed"
    )


def test_a_context_with_its_connection_is_one_cause() -> None:
    grown = rates(eventfd=4.0, eventpoll=2.0, __threads=2.0) | {Key("fds", "tcp-out:9797"): 1.0}
    assert {recipe.name for recipe in explain(grown).values()} == {"zeromq-context"}


def test_two_causes_are_told_apart_and_each_class_has_its_own() -> None:
    grown = {Key("fds", "eventfd"): 1.0, Key("fds", "tcp-out:9797"): 1.0, Key("fds", "close-wait"): 3.0}
    found = {str(key): recipe.name for key, recipe in explain(grown).items()}
    assert found == {
        "fds/eventfd": "zeromq-socket",
        "fds/tcp-out:9797": "zeromq-socket",
        "fds/close-wait": "close-wait",
    }
    assert sentence(grown).startswith(
        "+1 eventfd and +1 tcp-out to port 9797 per connection: a ZeroMQ socket"
    )
    assert "; +3 close-wait per connection: the handler does not close" in sentence(grown)


def test_other_proportions_are_no_zeromq_socket() -> None:
    found = explain({Key("fds", "eventfd"): 1.0, Key("fds", "tcp-out:80"): 2.0})
    assert {recipe.name for recipe in found.values()} == {"eventfd", "outbound"}


def test_twelve_pipes_may_be_six_pairs() -> None:
    assert [match(rates(pipe=rate), each=True).name for rate in (2.0, 1.0, 0.5)] == [
        "pipe-pair",
        "pipe",
        "pipe",
    ]  # type: ignore[union-attr]
    assert match(rates(pipe=12.0), each=False).name == "pipe"  # type: ignore[union-attr]


def test_a_thread_beside_anything_else_is_no_blocked_worker() -> None:
    assert match(rates(__threads=1.0)).name == "blocked-worker"  # type: ignore[union-attr]
    found = explain(rates(__threads=1.0, file=3.0))
    assert {recipe.name for recipe in found.values()} == {"file"}


def test_what_a_child_brings_and_the_stack_of_a_thread_are_no_causes() -> None:
    child = explain(rates(__processes=1.0, __threads=1.0, file=2.0, device=1.0, __mappings=40.0))
    assert {recipe.name for recipe in child.values()} == {"child-process"}
    worker = explain(rates(__threads=1.0, __mappings=2.0))
    assert {str(key): recipe.name for key, recipe in worker.items()} == {
        "threads": "blocked-worker",
        "mappings": "blocked-worker",
    }


def test_no_growth_says_nothing() -> None:
    assert sentence(rates(eventfd=0.0, file=-2.0)) == ""
    assert match({}) is None


def test_difference_has_new_examples_and_leaves_out_what_was_not_read() -> None:
    before = Census(0.0, fds={"file": 1}, threads={"main": 1}, processes=1, examples={"file": ("/a",)})
    after = Census(
        1.0, fds={"file": 3}, threads={"main": 1, "w-#": 2}, processes=1, examples={"file": ("/b", "/a")}
    )
    found = difference(before, after)
    assert {(str(g.key), g.by, g.examples) for g in found} == {
        ("fds/file", 2.0, ("/b",)),
        ("threads/w-#", 2.0, ()),
    }
    blind = Census(1.0, threads={"main": 1}, processes=1, unreadable=("fds of pid 1: Permission denied",))
    assert Key("fds") not in levels(blind)
    assert difference(blind, after) == [g for g in found if g.key.metric == "threads"]
    counted = Census(0.0, fds={"unclassified": 2}, processes=1)
    assert [(str(g.key), g.by) for g in difference(counted, after) if g.key.metric == "fds"] == [("fds", 1.0)]
