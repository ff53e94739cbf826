"""Patterns of growth and their sentences; tests/edges has processes that really leak in these ways."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.census_diff import difference, levels
from harness.core.judge.recipe import RECIPES, Recipe, explain, match, sentence
from harness.core.metric import Key
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


def test_two_causes_are_distinguished_and_each_class_has_its_own() -> None:
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


def test_sockets_of_clients_that_closed_and_of_those_that_reset_are_one_cause() -> None:
    grown = {Key("fds", "close-wait"): 0.4, Key("fds", "rowless-socket"): 0.6, Key("threads"): 1.02}
    assert {recipe.name for recipe in explain(grown).values()} == {"unnoticed-departure"}
    assert sentence(grown).endswith("and without a connection after a reset")
    go = {Key("fds", "close-wait"): 7640.0, Key("fds", "mptcp"): 469.0}
    assert {recipe.name for recipe in explain(go, each=False).values()} == {"unnoticed-departure-mptcp"}
    assert match(rates(**{"rowless-socket": 1.0})).name == "rowless-socket"  # type: ignore[union-attr]
    assert match(rates(mptcp=1.0)).name == "mptcp"  # type: ignore[union-attr]


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


def test_resources_of_a_child_and_the_stack_of_a_thread_are_no_causes() -> None:
    child = explain(rates(__processes=1.0, __threads=1.0, file=2.0, device=1.0, __mappings=40.0))
    assert {recipe.name for recipe in child.values()} == {"child-process"}
    worker = explain(rates(__threads=1.0, __mappings=2.0))
    assert {str(key): recipe.name for key, recipe in worker.items()} == {
        "threads": "blocked-worker",
        "mappings": "blocked-worker",
    }


def test_no_growth_has_no_sentence() -> None:
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


def test_a_total_and_its_kinds_count_once() -> None:
    total, kinds = {Key("threads"): 2.0}, {Key("threads", "worker-#"): 2.0}
    context = rates(eventfd=4.0, eventpoll=2.0)
    for grown in (context | total, context | kinds, context | total | kinds):
        assert match(grown).name == "zeromq-context"  # type: ignore[union-attr]
    mapped = {Key("fds", "pipe"): 2.0, Key("mappings"): 3.0, Key("mappings", "file"): 3.0}
    assert match(mapped).name == "shared-queue"  # type: ignore[union-attr]
    assert sentence(rates(__threads=1.0) | {Key("threads", "worker-#"): 1.0}).startswith(
        "+1 thread named worker-# per connection: a blocked worker"
    )


def test_connections_to_several_ports_are_one_class() -> None:
    grown = {Key("fds", "eventfd"): 2.0, Key("fds", "tcp-out:80"): 1.0, Key("fds", "tcp-out:81"): 1.0}
    assert match(grown).name == "zeromq-socket"  # type: ignore[union-attr]


@pytest.mark.parametrize(("outbound", "one"), [(1.25, True), (1.251, False), (0.8, True), (0.799, False)])
def test_a_ratio_may_miss_its_pattern_by_a_quarter(outbound: float, one: bool) -> None:
    found = explain({Key("fds", "eventfd"): 1.0, Key("fds", "tcp-out:80"): outbound})
    assert ({recipe.name for recipe in found.values()} == {"zeromq-socket"}) is one


@pytest.mark.parametrize(
    ("pipes", "name"), [(2.5, "pipe-pair"), (2.502, "pipe"), (1.5, "pipe-pair"), (1.498, "pipe")]
)
def test_an_exact_count_may_miss_by_a_quarter(pipes: float, name: str) -> None:
    assert match(rates(pipe=pipes)).name == name  # type: ignore[union-attr]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_is_the_one_for_its_own_pattern(recipe: Recipe) -> None:
    names = {**recipe.pattern, **dict.fromkeys(recipe.beside, 1.0)}
    grown = {Key.parse(name.replace("fds/tcp-out", "fds/tcp-out:80")): float(n) for name, n in names.items()}
    assert match(grown) is recipe
    assert set(explain(grown)) == set(grown)
    assert recipe.sentence in sentence(grown)


@pytest.mark.parametrize(
    ("key", "rate", "text"),
    [
        (Key("memory", "anonymous"), 1536.0, "+1.5 KiB of anonymous memory"),
        (Key("threads"), 1.0, "+1 thread per"),
        (Key("threads"), 2.0, "+2 threads per"),
        (Key("processes"), 2.0, "+2 processes per"),
        (Key("processes", "zombie"), 1.0, "+1 zombie process per"),
        (Key("fds"), 0.12345, "+0.123 descriptors per"),
        (Key("fds", "file"), 1000.4, "+1000 file per"),
        (Key("fds", "file"), 999.4, "+999 file per"),
        (Key("tasks"), 3.0, "+3 tasks per"),
        (Key("mappings"), 1.0, "+1 mapping per"),
    ],
)
def test_an_amount_is_written_in_words(key: Key, rate: float, text: str) -> None:
    assert sentence({key: rate}).startswith(text)


def test_noise_is_named_only_where_nothing_else_grew() -> None:
    memory = {Key("memory", "anonymous"): 1024.0}
    assert sentence(memory) == "+1.0 KiB of anonymous memory per connection"
    assert "memory" not in sentence(memory | rates(file=1.0))
    assert "memory" not in sentence(memory | {Key("tasks"): 1.0})
    assert sentence({Key("fds", "file"): 2.0}, per="") == "+2 file: a file is opened and never closed"


CENSUS = Census(
    0.0,
    fds={"file": 2, "pipe": 1},
    threads={"main": 1, "w-#": 2},
    mappings={"heap": 1, "file": 5},
    memory={"anonymous": 4096, "uss": 1024},
    processes=2,
    zombies=1,
)


def test_the_levels_of_a_census() -> None:
    assert {str(key): level for key, level in levels(CENSUS).items()} == {
        "fds": 3.0, "fds/file": 2.0, "fds/pipe": 1.0, "threads": 3.0, "processes": 2.0, "processes/zombie": 1.0,
        "mappings": 6.0, "memory/anonymous": 4096.0, "memory/uss": 1024.0,
    }  # fmt: skip
    assert levels(Census(0.0, unreadable=("fds of pid 1: x",))) == {}
    assert levels(Census(0.0)) == {Key("fds"): 0.0}, "no descriptor is a reading where none was unreadable"


def test_memory_that_one_census_could_not_read_did_not_grow_from_zero() -> None:
    later = replace(CENSUS, memory={"anonymous": 8192, "uss": 4096})
    assert [str(g) for g in difference(CENSUS, later)] == ["+4 KiB memory/anonymous", "+3 KiB memory/uss"]
    blind = replace(CENSUS, memory={"anonymous": 4096}, unreadable=("uss of pid 1: x",))
    assert [str(g) for g in difference(blind, later)] == ["+4 KiB memory/anonymous"]
    assert difference(replace(CENSUS, memory={}), later) == []
    assert difference(later, CENSUS) == [], "what fell is not growth"


def test_the_largest_growth_is_first_and_memory_last() -> None:
    later = replace(
        CENSUS,
        fds={"file": 4, "pipe": 2, "eventfd": 9},
        mappings={"heap": 1, "file": 7},
        memory={"anonymous": 1 << 20, "uss": 1024},
        processes=3,
    )
    assert [str(growth.key) for growth in difference(CENSUS, later)] == [
        "fds/eventfd", "fds/file", "mappings/file", "fds/pipe", "processes", "memory/anonymous",
    ]  # fmt: skip


def test_examples_of_other_metrics_are_found_by_their_key() -> None:
    before = replace(CENSUS, examples={"threads/w-#": ("w-1",), "file": ("/a",)})
    after = replace(CENSUS, fds={"file": 3, "pipe": 1}, threads={"main": 1, "w-#": 3}, examples={
        "threads/w-#": ("w-2", "w-1"), "file": ("/a",),
    })  # fmt: skip
    assert [str(growth) for growth in difference(before, after)] == [
        "+1 fds/file (/a)", "+1 threads/w-# (w-2)",
    ]  # fmt: skip


def test_every_recipe_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    assert all(recipe.name and recipe.sentence for recipe in RECIPES)


def test_each_recipe_has_a_name_of_its_own() -> None:
    names = [recipe.name for recipe in RECIPES]
    assert all(isinstance(name, str) and name for name in names)
    assert len(set(names)) == len(names)
