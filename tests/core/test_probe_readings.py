"""The probe's reading of a process tree: births, limits, control groups, samples of a remote probe, thinning."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import ProbeError
from harness.core.sample import Census, ProcessSample, Sample
from harness.probe import births, limits, lines, memory, tree
from harness.probe import history as history_module
from harness.probe import links as links_module
from harness.probe.descriptors import Tally
from harness.probe.history import History
from harness.probe.hot import HotReading


def test_descendants_are_found_by_their_ancestors_parents_first() -> None:
    parents = {9: 8, 8: 7, 7: 1, 5: 4, 4: 2, 6: 5}
    assert births._below({2}, parents) == [4, 5, 6]
    assert births._below({7}, parents) == [8, 9]
    assert births._below({3}, parents) == []
    assert births._below({7, 8}, parents) == [9]


class ScriptedKernel:
    """Scripted inputs of ``Births``: the newest number, and the parent of each process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.newest, self.parents, self.threads = 100, dict[int, int](), set[int]()
        self.scans, self.looked = 0, list[int]()
        monkeypatch.setattr(births.os, "pread", lambda *_: b"0.1 0.2 0.3 1/9 %d\n" % self.newest)
        monkeypatch.setattr(births, "parent_of", self.parent_of)
        monkeypatch.setattr(births, "_parent_of_every_process", self.everyone)
        monkeypatch.setattr(births, "_is_thread", lambda pid: pid in self.threads)

    def parent_of(self, pid: int) -> int | None:
        self.looked.append(pid)
        return self.parents.get(pid)

    def everyone(self) -> Mapping[int, int]:
        self.scans += 1
        return self.parents


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedKernel:
    return ScriptedKernel(monkeypatch)


def test_only_numbers_that_were_handed_out_since_are_looked_at(scripted: ScriptedKernel) -> None:
    finder = births.Births()
    scripted.parents = {50: 1, 51: 50}
    assert finder.find({50}) == [51]
    assert (scripted.scans, scripted.looked, finder.newest) == (1, [], 100)
    assert finder.find({50, 51}) == []
    assert scripted.looked == [], "nothing was started"
    scripted.newest, scripted.parents[102], scripted.parents[103] = 104, 51, 102
    scripted.threads.add(103)
    assert finder.find({50, 51}) == [102]
    assert scripted.looked == [101, 102, 103, 104]
    scripted.looked.clear()
    scripted.parents[104] = 50
    assert finder.find({50, 51, 102}) == [104], "one that could not be seen yet is looked for once more"
    assert scripted.looked == [101, 104]
    scripted.looked.clear()
    assert finder.find({50, 51, 102, 104}) == []
    assert scripted.looked == []
    assert scripted.scans == 1
    finder.close()
    finder.close()


def test_many_new_processes_are_found_by_a_scan_but_not_in_every_reading(scripted: ScriptedKernel) -> None:
    finder = births.Births()
    finder.find({50})
    scripted.newest += births.MAX_CANDIDATES
    finder.find({50})
    assert (scripted.scans, len(scripted.looked)) == (1, births.MAX_CANDIDATES)
    scripted.looked.clear()
    for number in range(2, 6):
        scripted.newest += births.MAX_CANDIDATES + 1
        finder.find({50})
        assert (scripted.scans, scripted.looked) == (1 if number < births.MIN_CALLS_BETWEEN_SCANS else 2, [])
    scripted.newest = 3  # the numbers have wrapped round
    for _ in range(births.MIN_CALLS_BETWEEN_SCANS):
        finder.find({50})
    assert scripted.scans == 3
    finder.close()


def test_after_fifty_readings_everything_is_scanned_anyway(scripted: ScriptedKernel) -> None:
    finder = births.Births()
    for _ in range(births.MAX_CALLS_BETWEEN_SCANS + 1):
        finder.find({50})
    assert scripted.scans == 2
    finder.close()


def reading(
    pid: int = 7, name: str = "app", *, stack: int = 0, zombie: bool = False, fds: int | None = 3
) -> HotReading:
    return HotReading(pid, name, 1, zombie, fds, 2, 4096, 0.5, 1, 1, 9, stack)


@pytest.mark.parametrize(
    ("before", "now", "another"),
    [
        (reading(stack=64), reading(stack=64), False), (reading(stack=64), reading(stack=128), True),
        (reading(stack=64), reading(stack=64, name="x"), False), (reading(), reading(name="x"), True),
        (reading(), reading(), False), (reading(stack=64), reading(name="x"), True),
        (reading(stack=64), reading(), False),
        (reading(stack=64), reading(stack=128, zombie=True), False),
    ],
)  # fmt: skip
def test_another_program_has_another_stack_or_where_that_is_hidden_another_name(
    before: HotReading, now: HotReading, another: bool
) -> None:
    assert tree._executed(before, now) is another


def test_a_sum_without_one_of_its_parts_is_none() -> None:
    assert tree._total([1, 2, 0]) == 3
    assert tree._total([1, None, 2]) is None
    assert tree._total([]) == 0


def test_a_process_alone_has_no_details_and_of_two_the_root_is_first() -> None:
    assert tree._details([reading()]) == ()
    assert tree._details([reading(9), reading(3, zombie=True)]) == (
        ProcessSample(9, "app", 3, 2, 4096, False), ProcessSample(3, "app", 3, 2, 4096, True))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "title", "word"),
    [
        ("Max open files            1024   4096   files\n", "Max open files", "1024"),
        ("a\nUid:\t1000\t0\n", "Uid:", "1000"), ("aUid: 7\n", "Uid:", ""), ("Uid:", "Uid:", ""), ("", "Uid:", ""),
    ],
)  # fmt: skip
def test_a_limit_is_the_first_word_after_its_title(text: str, title: str, word: str) -> None:
    assert limits._after(text, title) == word


def test_limits_are_those_that_are_set_and_root_has_none_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {
        "/proc/7/limits": "Max processes             63  64 processes\nMax open files            1024 4096 files\n",
        "/proc/7/status": "Name:\tx\nUid:\t1000\t1000\n", "/proc/sys/vm/max_map_count": "65530\n",
        "/proc/sys/fs/inotify/max_user_instances": "unlimited\n", "/proc/7/maps": "7f00 r-xp /usr/lib/libzmq.so.5\n",
    }  # fmt: skip
    monkeypatch.setattr(limits, "_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(limits, "cgroup_limits", lambda pid: {"pids.max": float(pid)})
    assert limits.limits(7) == {
        "RLIMIT_NOFILE": 1024.0, "RLIMIT_NPROC": 63.0, "vm.max_map_count": 65530.0, "pids.max": 7.0,
        "ZMQ_MAX_SOCKETS": 1023.0,
    }  # fmt: skip
    files["/proc/7/status"] = "Uid:\t0\t0\n"
    files["/proc/7/maps"] = ""
    files["/proc/7/limits"] = "Max open files            unlimited unlimited files\n"
    assert limits.limits(7) == {"vm.max_map_count": 65530.0, "pids.max": 7.0}


def test_control_groups_of_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name, text in (
        ("pids/a/b", "pids.max", "90"), ("pids/a", "pids.max", "70"), ("pids", "pids.max", "max"),
        ("memory/a/b", "memory.limit_in_bytes", str(1 << 60)),
        ("memory/a", "memory.limit_in_bytes", str((1 << 60) - 1)),
        ("two", "memory.max", "5000"), ("two/c", "pids.max", "80"),
    ):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text + "\n")
    mounts = [
        f"1 2 0:3 / {tmp_path}/pids rw - cgroup cgroup rw,pids",
        f"1 2 0:3 / {tmp_path}/other rw - cgroup cgroup rw,pids",
        f"1 2 0:3 /box {tmp_path}/memory rw shared:9 - cgroup cgroup rw,memory",
        f"1 2 0:3 / {tmp_path}/two rw - cgroup2 cgroup2 rw", "1 2 0:3 / /proc rw - proc proc rw",
    ]  # fmt: skip
    groups = {
        "/proc/self/mountinfo": mounts,
        "/proc/7/cgroup": ["9:pids,x:/a/b", "8:memory:/box/a/b", "0::/c"],
    }
    original = limits._text
    monkeypatch.setattr(
        limits, "_text", lambda path: "\n".join(groups[path]) if path in groups else original(path)
    )
    assert limits.cgroup_limits(7) == {"pids.max": 70.0, "memory.max": 5000.0}
    groups["/proc/7/cgroup"] = ["8:memory:/box/a/b"]
    assert limits.cgroup_limits(7) == {"memory.max": float((1 << 60) - 1)}
    groups["/proc/7/cgroup"] = ["0::/c"]
    assert limits.cgroup_limits(7) == {"pids.max": 80.0, "memory.max": 5000.0}
    groups["/proc/7/cgroup"] = ["0::/../c", "3:name=systemd:/"]
    assert limits.cgroup_limits(7) == {}


SAMPLE = Sample(
    2.5, 3, 2, 1, 4096, 0.5, 7, 9, 0, None, (ProcessSample(7, "app", 3, 2, None, True),),
    ("pid 8 started",),
)  # fmt: skip


def test_a_sample_and_a_census_come_over_a_line_whole() -> None:
    data = json.loads(lines.sample_line(SAMPLE))
    assert "gap" not in data
    assert lines.at_of(data) == 2.5
    assert lines.sample_of(data, 9.0) == Sample(
        9.0, 3, 2, 1, 4096, 0.5, 7, 9, 0, None, SAMPLE.per_process, SAMPLE.events
    )
    assert json.loads(lines.sample_line(Sample(1.0, gap="gone"))) == {"at": 1.0, "gap": "gone"}
    one = Census(
        1.0, {"file": 3}, {"listen": 1}, {"app": 2}, {"file": 9}, {"rss": 4096}, 2, 1, 0.5, {"file": ("/x",)}, ("uss",),
        44, {"7": 3},
    )  # fmt: skip
    assert lines.census_of(json.loads(lines.census_line(one))["census"], 1.0) == one
    assert lines.census_of({"unknown": 1}, 4.0) == Census(4.0)


def test_a_hello_line_identifies_its_process() -> None:
    data = json.loads(lines.hello(7, 0.25, started=99, orders=True))
    assert {name: data[name] for name in ("probe", "pid", "interval", "started", "orders", "uid")} == {
        "probe": lines.PROTOCOL, "pid": 7, "interval": 0.25, "started": 99, "orders": True,
        "uid": os.geteuid(),
    }  # fmt: skip
    assert data["host"] == socket.gethostname()
    assert len(data["boot"]) == 36
    lines.check_hello(data)
    assert json.loads(lines.hello(7, 0.25))["orders"] is False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probe": 2}, "protocol 2"), ({"probe": None}, "protocol None"), ({"pid": "7"}, "pid is '7'"),
        ({"interval": True}, "interval is True"), ({"started": None}, "started is None"),
        ({"started": 1 << 63}, "started is 9223372036854775808"), ({"pid": float("nan")}, "pid is nan"),
    ],
)  # fmt: skip
def test_a_hello_of_another_protocol_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ProbeError, match=words):
        lines.check_hello(json.loads(lines.hello(7, 0.25)) | change)
    lines.check_hello(json.loads(lines.hello((1 << 63) - 1024, 0.25)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"fds": "3"}, "fds is '3'"), ({"gap": 3}, "gap is 3"), ({"per_process": 3}, "int"),
        ({"cpu": float("inf")}, "cpu is inf"),
        ({"per_process": [{"pid": 7, "name": "x", "fds": "3", "threads": 1, "rss": 1}]}, "fds is '3'"),
        ({"per_process": [{"pid": 7}]}, "missing"), ({"events": 7}, "int"),
    ],
)  # fmt: skip
def test_a_damaged_sample_names_its_value(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ProbeError, match="damaged sample") as error:
        lines.sample_of(data, 1.0)
    assert words in str(error.value)


def test_a_sample_is_limited_in_size() -> None:
    long = lines.sample_of({"gap": "x" * 600, "events": ["y" * 600] * 30}, 1.0)
    assert len(long.gap or "") == lines.MAX_TEXT
    assert [len(one) for one in long.events] == [lines.MAX_TEXT] * lines.MAX_EVENTS
    with pytest.raises(ProbeError, match="at is 'x'"):
        lines.at_of({"at": "x"})
    assert lines.at_of({}) == 0.0


@pytest.mark.parametrize(
    "data",
    [
        {"fds": {"file": "3"}},
        {"processes": "1"},
        {"fds": 3},
        {"examples": 3},
        {"unreadable": 3},
        {"memory": {"rss": None}},
    ],
)
def test_a_damaged_census_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ProbeError, match="damaged census"):
        lines.census_of(data, 1.0)


def test_limits_come_as_numbers() -> None:
    assert lines.limits_of({"RLIMIT_NOFILE": 1024}) == {"RLIMIT_NOFILE": 1024.0}
    for wrong in (None, [1], {"a": "1"}, {"a": True}):
        with pytest.raises(ProbeError, match="damaged answer to limits"):
            lines.limits_of(wrong)


@pytest.mark.parametrize("line", [b"[1]", b"{", b"\xff\xfe", b'"x"', b"x\x1b[31m" + b"y" * 200])
def test_a_line_that_is_no_object_is_shown(line: bytes) -> None:
    assert lines.parse(b'{"a": 1}') == {"a": 1}
    with pytest.raises(ProbeError, match="expected a JSON line") as error:
        lines.parse(line)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 220


@pytest.mark.parametrize(
    ("gaps", "events", "kept"),
    [
        ((), (), [0, 2, 4, 5, 6, 7, 8]), ((1,), (), [0, 1, 2, 4, 5, 6, 7, 8]), ((), (3,), [0, 2, 3, 4, 5, 6, 7, 8]),
        ((1,), (3,), [0, 2, 4, 5, 6, 7, 8]),  # of too many that stay every second one goes
    ],
)  # fmt: skip
def test_old_samples_are_thinned_and_gaps_and_events_stay(
    gaps: tuple[int, ...], events: tuple[int, ...], kept: list[int]
) -> None:
    history = History(most=8, newest=4)
    assert history.last() is None
    for n in range(9):
        assert len(history.all()) == n
        history.append(
            Sample(float(n), gap="gone" if n in gaps else None, events=("x",) if n in events else ())
        )
    assert [one.at for one in history.all()] == kept
    last = history.last()
    assert last is not None
    assert last.at == 8.0


@pytest.mark.parametrize(
    ("since", "newest", "scans", "looked"),
    [
        (None, 100, 1, []), (100, 100, 0, []), (97, 100, 0, [98, 99, 100]), (36, 100, 0, list(range(37, 101))),
        (35, 100, 1, []), (101, 100, 1, []),
    ],
)  # fmt: skip
def test_only_processes_started_since_are_read_unless_there_are_too_many(
    since: int | None,
    newest: int,
    scans: int,
    looked: list[int],
    scripted: ScriptedKernel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(births, "_newest", lambda: newest)
    scripted.parents, scripted.threads = {99: 50, 98: 99, 100: 50}, {100}
    found = births.descendants(50, {50: 1}, since)
    assert found[0] == 50, "the process itself comes first"
    assert (scripted.scans, scripted.looked) == (scans, looked)
    # A scan lists only processes; single numbers have to be checked for threads.
    assert found[1:] == ([99, 98, 100] if scans else [99, 98] if 99 in looked else [])


def test_a_history_keeps_the_newest_two_thousand_samples_in_full() -> None:
    history = History()
    for n in range(history_module.MAX_KEPT + 1):
        history.append(Sample(float(n)))
    kept = [one.at for one in history.all()]
    assert kept[-history_module.NEWEST :] == [float(n) for n in range(4097 - 2048, 4097)]
    assert kept[: len(kept) - history_module.NEWEST] == [float(n) for n in range(0, 4097 - 2048, 2)]


@pytest.mark.parametrize(
    ("held", "counted", "listed"),
    [
        (range(20), 20, False), (range(300), 300, False), ([*range(10), *range(26, 30)], 14, False),
        ([*range(10), *range(27, 30)], 13, True), ([*range(10), *range(26, 30)], 15, True), (range(5), 0, True),
        ([*range(200), *range(228, 240)], 212, False), ([*range(200), *range(230, 240)], 210, True), ([], 0, True),
    ],
)  # fmt: skip
def test_descriptors_are_read_by_number_while_few_are_free_and_else_listed(
    held: list[int], counted: int, listed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of links stands for /proc/PID/fd; since Linux 6.2 its size is the number of descriptors. At most SPARE
    of them may be free, and one more for SPARE that are held."""
    for number in held:
        (tmp_path / str(number)).symlink_to(f"pipe:[{number}]")
    lists: list[int] = []

    def listing(directory: int) -> list[str]:
        lists.append(directory)
        return os.listdir(directory)

    scripted = SimpleNamespace(
        readlink=os.readlink, listdir=listing, fstat=lambda _: SimpleNamespace(st_size=counted)
    )
    monkeypatch.setattr(links_module, "os", scripted)
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names, found = links_module.links(directory)
    finally:
        os.close(directory)
    assert bool(lists) is listed
    assert dict(zip(names, found, strict=True)) == {str(number): f"pipe:[{number}]" for number in held}
    if not listed:
        assert names == [str(number) for number in reversed(held)], "the newest first"


@pytest.mark.parametrize(
    ("line", "counts", "example"),
    [
        (b"7f00-7f01 rw-p 00000000 00:00 0", {"anonymous": 1}, ""),
        (b"7f00-7f01 rw-p 00000000 00:00 0                  [heap]", {"heap": 1}, ""),
        (b"7f00-7f01 rw-p 00000000 00:00 0                  [anon:name of it]", {"anonymous": 1}, ""),
        (
            b"7f00-7f01 r-xp 00000000 08:01 77                 /usr/lib/a b c.so",
            {"file": 1},
            "/usr/lib/a b c.so",
        ),
        (b"7f00-7f01 r-xp 00000000 08:01 77                 /x (deleted)", {"deleted": 1}, "/x (deleted)"),
    ],
)
def test_a_mapping_is_of_its_kind_with_its_whole_path(
    line: bytes, counts: dict[str, int], example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_read_all", lambda process, name: line + b"\n" if name == "maps" else b"")
    tally = Tally()
    memory.mappings(SimpleNamespace(pid=7), tally)  # type: ignore[arg-type]
    assert tally.counts == counts
    assert tally.examples == ({next(iter(counts)): [example]} if example else {})


def test_only_three_paths_of_a_kind_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"".join(b"7f00-7f01 r-xp 00000000 08:01 77 /lib/%d.so\n" % n for n in range(9))
    monkeypatch.setattr(memory, "_read_all", lambda *_: text)
    tally = Tally()
    memory.mappings(SimpleNamespace(pid=7), tally)  # type: ignore[arg-type]
    assert (tally.counts["file"], tally.examples["file"]) == (9, ["/lib/0.so", "/lib/1.so", "/lib/2.so"])


ROLLUP = (
    b"7f00-7f01 ---p\nRss:  10 kB\nPss: 9 kB\nAnonymous:   4 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 2 kB\n"
)


def test_memory_comes_from_the_rollup_and_where_that_is_hidden_from_the_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files: dict[str, bytes | OSError] = {
        "smaps_rollup": ROLLUP,
        "status": b"Name: x\nVmRSS: 8 kB\nRssAnon: 3 kB\n",
    }

    def read(process: object, name: str) -> bytes:
        found = files[name]
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(memory, "_read_all", read)
    process: Any = SimpleNamespace(pid=7)
    for scripted, sizes in (
        ([], {"rss": 10240, "anonymous": 4096, "uss": 3072}),
        (
            ["uss of pid 7: Permission denied; anonymous memory is from status"],
            {"rss": 8192, "anonymous": 3072},
        ),
        (["memory of pid 7: Permission denied"], {}),
    ):
        unreadable, found = list[str](), Counter[str]()
        memory.memory(process, found, unreadable)
        assert (unreadable, dict(found)) == (scripted, sizes)
        denied = PermissionError(13, "Permission denied")
        files.update({"status": denied} if files["smaps_rollup"] != ROLLUP else {"smaps_rollup": denied})
