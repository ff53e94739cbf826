"""Lines of a growing file are whole, with several writers and after an interruption."""

from __future__ import annotations

import json
import os
import resource
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import StoreError
from harness.core.sample import ProcessSample, Sample
from harness.store import lines as lines_module
from harness.store.lines import FLUSH_BYTES, LineFile, SampleWriter, read_sample, sample_line, tag

DEADLINE = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.jsonl"


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """A file that this process writes may have ``size`` bytes, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("there", "kept"),
    [(b"", b""), (b"whole\n", b"whole\n"), (b"whole\ncut", b"whole\ncut\n"), (b"c", b"c\n")],
)
def test_the_line_that_a_killed_run_left_cut_is_ended(path: Path, there: bytes, kept: bytes) -> None:
    path.write_bytes(there)
    file = LineFile(path)
    file.add(b"new")
    file.close()
    assert path.read_bytes() == kept + b"new\n"


def test_a_new_file_is_private_and_a_closed_one_stays_closed(path: Path) -> None:
    file = LineFile(path)
    file.add(b"a")
    file.close()
    file.close()
    file.flush()
    assert path.read_bytes() == b"a\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("room", "left"), [(0, b""), (3, b""), (4, b"one\n"), (6, b"one\n"), (8, b"one\ntwo\n")]
)
def test_a_full_disk_keeps_whole_lines_and_is_reported_once(path: Path, room: int, left: bytes) -> None:
    file = LineFile(path)
    for line in (b"one", b"two", b"three"):
        file.add(line)
    with room_for(room), pytest.raises(StoreError, match=r"cannot write .*samples\.jsonl: File too large"):
        file.flush()
    assert path.read_bytes() == left
    with pytest.raises(StoreError, match="File too large"):
        file.add(b"later")
    file.close()
    assert path.read_bytes() == left


def test_earlier_lines_survive_a_full_disk(path: Path) -> None:
    path.write_bytes(b"old\n")
    file = LineFile(path)
    file.add(b"new")
    with room_for(6), pytest.raises(StoreError):
        file.close()
    assert path.read_bytes() == b"old\n"


def test_a_device_that_is_full_is_one_error() -> None:
    file = LineFile(Path("/dev/full"))
    file.add(b"x")
    with pytest.raises(StoreError, match="No space left"):
        file.close()
    with pytest.raises(StoreError, match="cannot write"):
        LineFile(Path("/nowhere/file"))


def test_lines_of_many_threads_are_all_there_and_whole(path: Path) -> None:
    file = LineFile(path)
    threads, each = 4, 500

    def write(number: int) -> None:
        for index in range(each):
            file.add(b"%d-%d" % (number, index))
            if index % 3 == 0:
                file.flush()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(DEADLINE)
    finally:
        sys.setswitchinterval(before)
    file.close()
    assert sorted(path.read_bytes().splitlines()) == sorted(
        b"%d-%d" % (number, index) for number in range(threads) for index in range(each)
    )


@pytest.mark.parametrize("second", ["add", "flush", "close"])
def test_one_writer_at_a_time(path: Path, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread writes, another waits, or their bytes would mix."""
    file = LineFile(path)
    entered, over = threading.Event(), threading.Event()
    others: list[threading.Thread] = []
    early: list[bool] = []

    def act() -> None:
        entered.set()
        getattr(file, second)(*([b"second"] if second == "add" else []))
        over.set()

    def slow(descriptor: int, data: bytes) -> None:
        if not others:
            others.append(threading.Thread(target=act))
            others[0].start()
            assert entered.wait(DEADLINE)
            early.append(over.wait(0.1))
        os.write(descriptor, data)

    monkeypatch.setattr(lines_module, "write_all", slow)
    file.add(b"first")
    file.flush()
    assert early == [False]
    others[0].join(DEADLINE)
    file.close()
    assert path.read_bytes() == b"first\n" + (b"second\n" if second == "add" else b"")


@pytest.mark.parametrize(("extra", "written"), [(-1, False), (0, True)])
def test_at_most_a_bounded_number_of_bytes_is_held(path: Path, extra: int, written: bool) -> None:
    file = LineFile(path)
    file.add(b"x" * (FLUSH_BYTES // 2 - 1))
    file.add(b"y" * (FLUSH_BYTES // 2 - 1 + extra))
    assert FLUSH_BYTES == 65_536
    assert (path.stat().st_size > 0) is written
    file.close()
    assert path.stat().st_size == FLUSH_BYTES + extra


def test_samples_reach_the_file_once_a_second_of_their_time(path: Path) -> None:
    file = LineFile(path)

    def count() -> int:
        return len(path.read_bytes().splitlines())

    with SampleWriter(file, "one") as writer:
        seen = []
        for at in (5.0, 5.5, 5.99, 6.0, 6.5, 7.0):
            writer.write(Sample(at))
            seen.append(count())
        assert seen == [1, 1, 1, 4, 4, 6]
        writer.write(Sample(7.1))
        writer.flush()
        assert count() == 7
        writer.write(Sample(7.2))
    assert count() == 8
    file.close()


def test_a_sample_is_read_back_unchanged() -> None:
    sample = Sample(
        1.2345678,
        fds=3,
        threads=0,
        cpu=0.12345678,
        gap=None,
        per_process=(ProcessSample(7, "x", 3, None, 5, True),),
        events=("pid 3 started",),
    )
    line = sample_line('a"b', sample)
    assert line.startswith(tag('a"b'))
    data = json.loads(line)
    assert data["trial"] == 'a"b'
    assert "gap" not in data
    assert data["threads"] == 0
    assert read_sample(data) == replace(sample, at=1.234568, cpu=0.123457)
    with pytest.raises(KeyError):
        read_sample({})
    with pytest.raises(ValueError):
        read_sample({"at": 1, "per_process": [[1, 2]]})
