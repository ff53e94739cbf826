"""Samples of a scripted remote probe: their times, invalid answers, and an interrupted connection."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from harness.core.errors import Interrupted, ProbeError
from harness.core.sample import Census, Sample
from harness.probe import lines, remote
from harness.probe.remote import RemoteSampler

DEADLINE = 10.0  # seconds


class Far:
    """The remote side: the output of each run of its command, and the requests that it got. After its output a run
    waits until it is ended, unless the run is to be cut."""

    def __init__(self) -> None:
        self.runs: list[list[list[dict[str, Any]]]] = []
        self.cuts = 0
        self.orders: list[str] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.lines: list[ScriptedCommand] = []
        self.why = "the command exited with 255: connection reset"


class ScriptedCommand:
    """Stands for ``remote_command.RemoteCommand``."""

    far = Far()

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv, self.closed = list(argv), False
        self._said = iter(self.far.runs[min(len(self.far.lines), len(self.far.runs) - 1)])
        self._waiting: list[list[bytes]] = []
        self._news = threading.Event()
        self._cut = len(self.far.lines) < self.far.cuts
        self.far.lines.append(self)

    def read(self) -> list[bytes]:
        for said in self._said:
            return [json.dumps(one).encode() for one in said]
        while not self._cut and not self.closed:
            if self._waiting:
                return self._waiting.pop(0)
            self._news.wait(0.01)
            self._news.clear()
        return []

    def send(self, text: str) -> None:
        self.far.orders.append(text)
        answer = self.far.answers.get(text.split()[0])
        if answer is not None:
            self._waiting.append([json.dumps(answer).encode()])
            self._news.set()

    def exit_text(self) -> str:
        return self.far.why

    def kill(self) -> None:
        self.closed = True
        self._news.set()

    close = kill


HELLO = {**json.loads(lines.hello(7, 0.25, started=99, orders=True)), "boot": "one"}


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Far:
    made = Far()
    made.runs = [[[HELLO, {"at": 1.0, "fds": 3}]]]
    monkeypatch.setattr(ScriptedCommand, "far", made)
    monkeypatch.setattr(remote, "RemoteCommand", ScriptedCommand)
    return made


@pytest.fixture
def opened(far: Far) -> Iterator[Any]:
    made: list[RemoteSampler] = []

    def begin(**more: Any) -> RemoteSampler:
        made.append(RemoteSampler(["ssh", "host"], clock=lambda: 100.0, **{"retry": 0.001, **more}))
        return made[-1]

    yield begin
    for one in made:
        one.close()
    assert all(line.closed for line in far.lines)


def until(condition: Any) -> None:
    ends = threading.Event()
    for _ in range(int(DEADLINE / 0.005)):
        if condition():
            return
        ends.wait(0.005)
    raise AssertionError("it never came")


def test_the_hello_names_the_process_and_the_interval(opened: Any) -> None:
    one = opened()
    assert (one.pid, one.interval, one.latest().fds, one.latest().at) == (7, 0.25, 3, 100.0)
    sampler = RemoteSampler.__new__(RemoteSampler)
    sampler._hello = {}
    assert (sampler.pid, sampler.interval) == (0, 0.1)


def test_a_sample_is_placed_by_the_quickest_line_and_never_before_the_last(far: Far) -> None:
    """The remote clock began at our 90; the second line took 5 s, the third none."""
    clock = iter([100.0, 105.0, 106.0, 200.0])
    one = RemoteSampler.__new__(RemoteSampler)
    one._clock = lambda: next(clock)
    one._offset, one._arrived, one.ended = math.inf, 90.0, False
    one._history, one._lock, one._first = remote.History(), threading.Lock(), threading.Event()
    one._on_sample = None
    for at in (9.0, 10.0, 16.0):
        one._sample({"at": at, "fds": 1})
    found = [sample.at for sample in one.samples()]
    # 100 − 9 is 91; the next may be later by the drift of two clocks alone, and the last came in 90.
    assert found == pytest.approx([100.0, 101.0005, 106.0], abs=1e-5)
    one._offset = -50.0
    one._sample({"at": 16.5, "fds": 1})
    assert one.samples()[-1].at == found[-1]


@pytest.mark.parametrize(
    ("asked", "answer", "found"),
    [
        ("inbound", {"inbound": 4}, 4), ("inbound", {"inbound": None}, None), ("inbound", {"inbound": "4"}, None),
        ("inbound", {"error": "no"}, None), ("limits", {"limits": {"pids.max": 3}}, {"pids.max": 3.0}),
    ],
)  # fmt: skip
def test_an_order_is_sent_to_a_remote_probe(
    asked: str, answer: dict[str, Any], found: Any, far: Far, opened: Any
) -> None:
    far.answers = {asked: answer}
    one = opened()
    assert (one.inbound(80) if asked == "inbound" else one.limits()) == found
    assert far.orders == ["inbound 80" if asked == "inbound" else "limits"]


def test_a_remote_census_is_read_and_a_damaged_one_is_no_reading(far: Far, opened: Any) -> None:
    far.answers = {"census": json.loads(lines.census_line(Census(0.0, fds={"file": 3}, processes=1)))}
    one = opened()
    assert one.census(5.0) == Census(5.0, fds={"file": 3}, processes=1)
    far.answers = {"census": {"census": {"fds": {"file": "3"}}}}
    damaged = one.census(6.0)
    assert (damaged.at, damaged.fds) == (6.0, {})
    assert "damaged census" in damaged.unreadable[0]
    far.answers = {"census": {"error": "x" * 500}}
    refused = one.census(7.0).unreadable[0]
    assert "its census" in refused
    assert len(refused) < 330


def test_no_answer_is_an_error_that_names_the_order(
    far: Far, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_TIMEOUT", 0.01)
    one = opened()
    with pytest.raises(ProbeError, match=r"did not answer 'limits' within 0\.01 s"):
        one.limits()


def test_a_probe_without_orders_gets_none(far: Far, opened: Any) -> None:
    far.runs = [[[{**HELLO, "orders": False}, {"at": 1.0, "fds": 3}]]]
    one = opened()
    assert one.inbound(80) is None
    assert "cannot return its census" in one.census(1.0).unreadable[0]
    assert far.orders == []


def test_answers_that_were_not_requested_are_dropped_oldest_first(far: Far, opened: Any) -> None:
    many = [{"limits": {"a": n}} for n in range(remote.MAX_ANSWERS + 3)]
    far.runs = [[[HELLO, *many, {"at": 1.0, "fds": 3}]]]
    one = opened()
    assert [one._answers.get_nowait()["limits"]["a"] for _ in range(remote.MAX_ANSWERS)] == list(
        range(3, remote.MAX_ANSWERS + 3)
    )
    far.answers = {"limits": {"limits": {"a": 99}}}
    one._answer({"limits": {"a": 1}})
    assert one.limits() == {"a": 99.0}, "an old answer is not taken for a new one"


def test_a_cut_line_is_a_gap_and_the_command_is_started_anew(far: Far, opened: Any) -> None:
    far.cuts, told = 2, list[Sample]()
    one = opened(on_sample=told.append)
    until(lambda: len(far.lines) == 3 and len(told) == 5)
    gaps = [sample.gap for sample in told]
    assert gaps[::2] == [None, None, None]
    assert all("exited with 255: connection reset" in (gap or "") for gap in gaps[1::2])
    assert [line.closed for line in far.lines] == [True, True, False]
    assert [line.argv for line in far.lines] == [["ssh", "host"]] * 3
    assert not one.ended


@pytest.mark.parametrize(
    ("change", "words"),
    [({"boot": "two"}, "machine"), ({"started": 100}, "pid 7 is another"), ({"pid": 8}, "pid 8")],
)
def test_another_process_after_a_cut_is_the_end(
    change: dict[str, Any], words: str, far: Far, opened: Any
) -> None:
    far.cuts = 1
    far.runs = [[[HELLO, {"at": 1.0, "fds": 3}]], [[{**HELLO, **change}, {"at": 2.0, "fds": 4}]]]
    one = opened()
    until(lambda: one.ended)
    last = one.samples()[-1]
    assert last.gap is not None
    assert last.gap.startswith(remote.EXITED)
    assert words in last.gap
    assert len(far.lines) == 2


def test_a_process_that_exited_while_the_line_was_cut_ends_the_samples(far: Far, opened: Any) -> None:
    far.runs = [[[HELLO, {"at": 1.0, "fds": 3}]], []]
    far.cuts, far.why = 2, "the command exited with 4: pid 7: no such process"
    one = opened()
    until(lambda: one.ended)
    assert [sample.gap is None for sample in one.samples()] == [True, False, False]
    assert (one.samples()[-1].gap or "").startswith(remote.EXITED)
    far.runs = [[[HELLO, {"at": 1.0, "gap": remote.EXITED}]]]
    other = opened()
    until(lambda: other.ended)
    assert len(other.samples()) == 1


def test_a_silent_link_passes_nothing(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    far.runs = [[[{**HELLO, "interval": 0.4}, {"at": 1.0, "fds": 3}]]]
    with RemoteSampler(["ssh"], clock=lambda: now[0]) as one:
        now[0] = 104.0
        assert one.latest().fds == 3
        now[0] = 104.1
        gap = one.latest()
        assert (gap.at, gap.fds) == (104.1, None)
        assert "4.1 s" in (gap.gap or "")
    far.lines.clear()
    far.runs = [[[HELLO, {"at": 1.0, "fds": 3}]]]
    now[0] = 100.0
    with RemoteSampler(["ssh"], clock=lambda: now[0]) as quick:
        now[0] = 100.0 + remote.STALE
        assert quick.latest().fds == 3
        now[0] += 0.1
        assert quick.latest().fds is None


def test_a_command_that_sends_no_sample_is_refused_with_its_output(far: Far, opened: Any) -> None:
    far.runs, far.cuts = [[]], 1
    with pytest.raises(ProbeError, match=r"sent no sample: the command exited with 255"):
        opened()
    far.lines.clear()
    far.runs, far.cuts = [[[HELLO]]], 0
    with pytest.raises(ProbeError, match=r"no sample within 0\.01 s"):
        opened(timeout=0.01)
    assert far.lines[-1].closed
    with pytest.raises(Interrupted):
        opened(cancelled=lambda: True)
    far.runs = [[[{**HELLO, "probe": 9}]]]
    far.lines.clear()
    with pytest.raises(ProbeError, match="protocol 9"):
        opened()
