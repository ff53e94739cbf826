"""Orders to a probe, and its options: output, owner, and end."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import ProbeError
from harness.core.sample import Census, Sample
from harness.probe import print_readings as module
from harness.probe.print_readings import MAX_ORDER, MAX_ORDERS, Orders, arguments, orders_from


class Tree:
    """A process that ends after a number of readings."""

    def __init__(self, ends_after: int = 10**9) -> None:
        self.root, self.started, self.newest, self.ended, self.closed = 7, 99, 500, False, False
        self.times = list[float]()
        self._ends_after = ends_after

    def read(self, at: float) -> Sample:
        self.times.append(at)
        self.ended = len(self.times) >= self._ends_after
        return Sample(at, fds=len(self.times))

    def processes(self) -> dict[int, int]:
        return {7: 99}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    made = Tree()
    monkeypatch.setattr(module, "Tree", lambda pid: made)
    monkeypatch.setattr(
        module, "census", lambda pid, **more: Census(more["at"], fds={"file": pid}, processes=len(more))
    )
    monkeypatch.setattr(module, "inbound", lambda pid, port: port + pid)
    monkeypatch.setattr(module, "limits", lambda pid: {"RLIMIT_NOFILE": float(pid)})
    return made


def printed(**options: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    module.print_readings(7, out=out, **options)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_hello_is_first_and_then_as_many_samples_as_requested(tree: Tree) -> None:
    hello, *samples = printed(count=3, interval=0.001)
    assert (hello["pid"], hello["interval"], hello["started"], hello["orders"]) == (7, 0.001, 99, False)
    assert [one["fds"] for one in samples] == [1, 2, 3]
    assert tree.closed


def test_no_sample_is_before_its_time(tree: Tree) -> None:
    printed(count=4, interval=0.02)
    assert all(at >= number * 0.02 - 1e-3 for number, at in enumerate(tree.times)), tree.times


def test_a_probe_stops_with_the_process_and_on_request(tree: Tree) -> None:
    tree._ends_after = 2
    assert [one["fds"] for one in printed(interval=0.001)[1:]] == [1, 2]
    stop = threading.Event()
    stop.set()
    assert len(printed(stop=stop)) == 1


def test_census_prints_one_census_and_stops(tree: Tree) -> None:
    _, census = printed(census_only=True)
    assert census["census"]["fds"] == {"file": 7}
    assert tree.times == []
    assert tree.closed


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        ("inbound 80", {"inbound": 87}), ("inbound 65535", {"inbound": 65542}), ("inbound 0", {"inbound": 7}),
        ("limits", {"limits": {"RLIMIT_NOFILE": 7.0}}), ("inbound 65536", None), ("inbound", None), ("inbound x", None),
        ("inbound -1", None), ("inbound ²", None), ("nonsense " + "x" * 99, None), ("", None),
    ],
)  # fmt: skip
def test_an_order_is_answered_by_one_line(order: str, answer: dict[str, Any] | None, tree: Tree) -> None:
    found = json.loads(module._answer(order, tree, 1.5))  # type: ignore[arg-type]
    if answer is None:
        assert found == {"error": f"order {order[:40]!r}: expected census, inbound PORT or limits"}
    else:
        assert found == answer


def test_a_census_on_order_has_the_tree(tree: Tree) -> None:
    found = json.loads(module._answer("census", tree, 1.5))["census"]  # type: ignore[arg-type]
    assert (found["at"], found["fds"], found["processes"]) == (1.5, {"file": 7}, 3)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        try:
            os.close(end)
        except OSError:
            pass  # the test has closed it


def ended(orders: Orders) -> None:
    """Wait until its reader has ended."""
    for thread in threading.enumerate():
        if thread.name == "orders":
            thread.join(10.0)
            assert not thread.is_alive()


def test_orders_are_lines_whole_or_in_parts(pipe: tuple[int, int]) -> None:
    read, write = pipe
    orders = Orders(read)
    assert orders.accepted
    os.write(write, b"census\n inb")
    os.write(write, b"ound 80 \nrest\xff\nunfinished")
    os.close(write)
    ended(orders)
    assert orders.woken.is_set()
    assert orders.take_waiting() == ["census", "inbound 80", "rest\ufffd"]
    assert not orders.woken.is_set()
    assert orders.take_waiting() == []
    assert not Orders(None).accepted


@pytest.mark.parametrize(("length", "taken"), [(MAX_ORDER - 1, True), (MAX_ORDER, False)])
def test_an_endless_order_is_no_longer_read(length: int, taken: bool, pipe: tuple[int, int]) -> None:
    read, write = pipe
    orders = Orders(read)
    os.write(write, b"x" * length)
    if not taken:
        ended(orders)
    os.write(write, b"\nlimits\n")
    os.close(write)
    ended(orders)
    assert orders.take_waiting() == (["x" * length, "limits"] if taken else [])


def test_too_many_orders_at_once_are_refused(pipe: tuple[int, int]) -> None:
    read, write = pipe
    orders = Orders(read)
    os.write(write, b"limits\n" * (MAX_ORDERS + 1))
    ended(orders)
    assert len(orders.take_waiting()) == MAX_ORDERS


def test_orders_come_from_a_pipe_and_from_no_file(pipe: tuple[int, int], tmp_path: Path) -> None:
    read, _ = pipe
    with os.fdopen(os.dup(read)) as stdin:
        assert orders_from(stdin) == stdin.fileno()
    with (tmp_path / "file").open("w+") as file:
        assert orders_from(file) is None
    assert orders_from(None) is None
    assert orders_from(io.StringIO()) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "--pid None: expected the number"), (["--pid", "0"], "--pid 0: expected the number"),
        (["--pid", "7", "--interval", "0.009"], "--interval 0.009: expected 0.01 to 3600 seconds"),
        (["--pid", "7", "--interval", "3601"], "--interval 3601: expected"),
        (["--pid", "7", "--interval", "nan"], "nan"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_usage_errors(
    given: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        arguments(given)
    assert done.value.code == 2
    assert words in capsys.readouterr().err


def test_options_have_their_defaults() -> None:
    found = arguments(["--pid", "1"])
    assert (found.pid, found.interval, found.count, found.census, found.emit_script) == (
        1,
        0.1,
        None,
        False,
        False,
    )
    assert arguments(["--pid", "7", "--interval", "0.01"]).interval == 0.01
    assert arguments(["--pid", "7", "--interval", "3600"]).interval == 3600.0
    assert arguments(["--emit-script"]).emit_script is True


def test_a_process_that_does_not_exist_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(pid: int) -> None:
        raise ProbeError(f"pid {pid}: no such process; expected a running service")

    monkeypatch.setattr(module, "Tree", missing)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    assert module.main(["--pid", "7"]) == 4
    assert capsys.readouterr().err == "harness-probe: pid 7: no such process; expected a running service\n"


def test_a_line_starts_no_command_of_a_ci() -> None:
    out = io.StringIO()
    module._print(out, json.dumps({"name": "##[error]"}))
    assert "##[" not in out.getvalue()
    assert json.loads(out.getvalue()) == {"name": "##[error]"}


def test_a_signal_stops_the_probe_within_a_tenth_of_a_second(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends a wait on some versions of Python only, so no wait is longer, however long the interval is."""
    waits: list[float] = []

    class Woken(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return super().wait(timeout)

    class Asked(Orders):
        def __init__(self, source: int | None) -> None:
            super().__init__(source)
            self.woken = Woken()

    monkeypatch.setattr(module, "Orders", Asked)
    stop = threading.Event()
    timer = threading.Timer(0.12, stop.set)
    timer.start()
    printed(interval=3600.0, stop=stop)
    timer.join()
    assert 0 < max(waits) <= 0.1
