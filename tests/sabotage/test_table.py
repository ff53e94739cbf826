"""Every row of the table turns red with the right metric and driver, or stays green; ``make sabotage`` runs all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.sabotage.beyond import BEYOND, SUBJECTS
from tests.sabotage.case import Case, Result, run
from tests.sabotage.reference import REFERENCE
from tests.sabotage.table import TABLE

QUICK = [case for case in TABLE if case.quick]
LONG = [case for case in (*TABLE, *BEYOND, *REFERENCE) if not case.quick]


# What shows in a few seconds; the whole table is run with a guard's own load.
BRISK: dict[str, Any] = {
    "connections": 120,
    "concurrency": 40,
    "dwell": 0.5,
    "settle": 0.3,
    "sensitivity": 1 / 200,
    "max_time": 100.0,
    "retention": 0.0,  # none of these releases anything late: a minute's wait would show nothing more
    "hold": 0.0,  # none grows only while clients are connected: tests/sabotage/test_services.py has those that do
    "stall_after": 10.0,  # what a busy machine delays is not a stall
}


def check(case: Case, folder: Path, **load: Any) -> Result:
    tool = {"go": "go", "node": "node", "java": "javac"}.get(case.runtime)
    if tool and shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    result = run(case, folder, **load)
    assert not result.wrong, f"{'; '.join(result.wrong)}\n{result.verdict.explain()}"
    return result


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_the_verdict_is_right(case: Case, tmp_path: Path) -> None:
    # Of a threaded service only what the kernel counts is expected: no search for the place, which costs half of it.
    more = {"runtime": "none"} if case.runtime == "thread" else {}
    result = check(case, tmp_path / "run", **BRISK, **more)
    if result.verdict.bounded:
        total = next(b for b in result.verdict.bounds if b.metric == "fds" and not b.kind and b.per_stream)
        assert total.at_most <= BRISK["sensitivity"], "it says how small a leak would have been seen"


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", LONG, ids=lambda case: case.name)
def test_the_verdict_of_every_row_is_right(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path / "run")


def test_the_table_covers_every_class_of_descriptor_every_driver_and_every_runtime() -> None:
    kinds: set[str] = set()
    for case in TABLE:
        if getattr(case.expected, "metric", "") == "fds":
            kind = case.expected.kind
            kinds.update((kind,) if isinstance(kind, str) else kind)
    assert kinds >= {
        "tcp-listen", "tcp-in", "tcp-out", "close-wait", "rowless-socket", "unix", "netlink", "eventfd", "eventpoll",
        "timerfd", "signalfd", "inotify", "pidfd", "memfd", "pipe", "io_uring", "file", "deleted-file", "directory",
        "device",
    }  # fmt: skip
    leaks = [case.expected for case in TABLE if hasattr(case.expected, "driver")]
    drivers = {"connection", "event", "time", "abort", "slow-reader", "broker-timeout"}
    assert {leak.driver for leak in leaks} == drivers
    metrics = {"fds", "threads", "processes", "mappings", "tasks", "memory", "idle-cpu"}
    assert {leak.metric for leak in leaks} >= metrics
    runtimes = {"asyncio", "thread", "gevent", "prefork", "go", "node"}
    for kind in (True, False):
        assert {case.runtime for case in TABLE if hasattr(case.expected, "driver") is kind} == runtimes


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_subject_has_services_of_two_languages(subject: str) -> None:
    python = {"asyncio", "thread", "gevent", "prefork"}
    languages = {"python" if case.runtime in python else case.runtime for case in SUBJECTS[subject]}
    assert len(languages) >= 2, languages


def test_no_two_rows_have_the_same_name() -> None:
    names = [case.name for case in (*TABLE, *BEYOND, *REFERENCE)]
    assert len(set(names)) == len(names)


def test_every_service_that_was_judged_wrongly_is_a_row() -> None:
    read = (Path(__file__).parents[1] / "cases" / "README.md").read_text()
    text = read.partition("Other instances of these kinds")[2]
    named = {name for line in text.splitlines()[4:] for name in line.split("`")[1::2]}
    assert len(named) >= 15
    assert named <= {case.name for case in BEYOND}
