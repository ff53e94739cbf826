"""The folder of a run: it is read back, damage is reported, and every read has a limit."""

from __future__ import annotations

import datetime
import json
import os
import stat
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import ConfigError, StoreError
from harness.core.record import RunRecord
from harness.core.record_codec import PART_BYTES, dumps, parts, to_dict
from harness.core.sample import ProcessSample, Sample
from harness.store import claim, run_dir
from harness.store.lines import read_sample, sample_line, tag
from harness.store.run_dir import RunDirectory, run_id, safe_name
from harness.store.write import replace_file
from tests.core.series import trial

RECORD = RunRecord(
    "an-id", "harness guard", "2026-03-01T00:00:00+00:00", 3, (trial([10] * 4),), {"kernel": "6"}
)
FIRST = Sample(
    1.0, fds=4, threads=2, rss=4096, cpu=0.5, per_process=(ProcessSample(7, "a", 4, 2, 4096, False),)
)
SECOND = Sample(2.0, gap="the probe was held up", events=("pid 8 started",))


@pytest.fixture
def made(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "run", "an-id") as found:
        yield found


def test_a_run_is_read_back_unchanged(made: RunDirectory) -> None:
    made.samples("one").write(FIRST)
    made.samples("two").write(SECOND)
    made.checkpoint(RECORD)
    assert made.record() == RECORD
    for place in (made.path, made.path / "run.json"):
        record, samples = RunDirectory.load(place)
        assert record == RECORD
        assert list(samples) == [("one", FIRST), ("two", SECOND)]
        again = RunDirectory.open(place)
        assert (again.path, again.run_id) == (made.path, "an-id")
    assert stat.S_IMODE((made.path / "run.json").stat().st_mode) == 0o600
    assert (made.path / "run.json").read_bytes().endswith(b"}\n")


def test_the_record_of_a_long_run_is_written_without_taking_its_size_in_memory_many_times(
    made: RunDirectory,
) -> None:
    long = replace(RECORD, trials=(trial([10] * 400),))
    values = to_dict(long)
    text = dumps(values, indent=1)
    assert b"".join(parts(values, indent=1)) == text.encode()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert all(len(piece) < 2 * PART_BYTES for piece in parts(values, indent=1))
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < len(text), "as a whole it takes nine times as much"
    made.checkpoint(long)
    assert (made.path / "run.json").read_text() == text + "\n"
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace_file(made.path / "run.json", parts({"a": float("nan")}, indent=1))
    assert (made.path / "run.json").read_text() == text + "\n"
    assert not list(made.path.glob(".*"))


def test_the_samples_of_one_trial_are_read_alone_and_flushed_before(made: RunDirectory) -> None:
    one, two = made.samples("one"), made.samples('two "quoted"')
    one.write(FIRST)
    two.write(SECOND)
    one.write(replace(FIRST, at=1.1, per_process=()))  # held until the next second
    assert [each.at for each in made.read_samples("one")] == [1.0, 1.1]
    assert list(made.read_samples('two "quoted"')) == [SECOND]
    assert list(made.read_samples("three")) == []


@pytest.mark.parametrize(
    "damage",
    [b"{", b"[]", b"\xff", b'{"trial":"one","at":"x"}', b'{"trial":"one","at":1e999}',
     b'{"trial":"one","at":2,"fds":[1]}', b'{"trial":"one","at":2,"gap":3}', b'{"trial":"one","at":2,"events":null}',
     b'{"trial":"one","at":2,"fds":true}', b"[" * 100_000],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_a_gap_of_the_trial_before_it(
    made: RunDirectory, damage: bytes
) -> None:
    lines = (sample_line("one", FIRST), damage, sample_line("two", SECOND), damage, sample_line("one", FIRST))
    (made.path / "samples.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    starts = damage.startswith(b'{"trial":')  # of another trial than "two"
    seen = list(made.read_samples("one"))
    gaps = [(one.at, one.gap) for one in seen if one != FIRST]
    expected = [(1.0, "line 2 of samples.jsonl cannot be read")]
    assert gaps == expected
    assert seen.count(FIRST) == 2
    assert [one.gap for one in made.read_samples("two") if one != SECOND] == (
        [] if starts else ["line 4 of samples.jsonl cannot be read"]
    )
    every = [(name, one.gap) for name, one in run_dir._read_samples(made.path / "samples.jsonl", None)]
    assert [name for name, _ in every] == ["one", "one", "two", "two", "one"]
    assert every[3][1] == "line 4 of samples.jsonl cannot be read"


def test_what_precedes_the_first_sample_belongs_to_no_trial(made: RunDirectory) -> None:
    (made.path / "samples.jsonl").write_bytes(b"{\n" + sample_line("one", FIRST) + b"\n")
    assert list(made.read_samples("one")) == [FIRST]
    assert [name for name, _ in run_dir._read_samples(made.path / "samples.jsonl", None)] == ["one"]


@pytest.mark.parametrize(("length", "read"), [(19, True), (20, True), (21, False), (40, False), (60, False)])
def test_a_line_has_a_limit_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, read: bool
) -> None:
    """length: of the line, with its end."""
    monkeypatch.setattr(run_dir, "MAX_LINE", 20)
    long, short = b"x" * (length - 1) + b"\n", b"short\n"
    (tmp_path / "a").write_bytes(short + long + short)
    assert list(run_dir._lines(tmp_path / "a")) == [short, long if read else b"\n", short]
    (tmp_path / "a").write_bytes(b"y" * 65)  # no end at all, four reads
    assert list(run_dir._lines(tmp_path / "a")) == [b"\n"]
    (tmp_path / "a").write_bytes(b"y" * 19)
    assert list(run_dir._lines(tmp_path / "a")) == [b"y" * 19]


def test_a_file_that_is_invalid_is_named_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    assert list(run_dir._lines(tmp_path / "missing")) == []
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match=r"cannot read .*/pipe: it is not a regular file; restore it"):
        list(run_dir._lines(tmp_path / "pipe"))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreError, match=r"cannot read .*/loop: Too many levels of symbolic links"):
        list(run_dir._lines(tmp_path / "loop"))


def test_a_record_has_a_limit(made: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    made.checkpoint(RECORD)
    size = (made.path / "run.json").stat().st_size
    monkeypatch.setattr(run_dir, "MAX_RECORD", size)
    assert made.record() == RECORD
    monkeypatch.setattr(run_dir, "MAX_RECORD", size - 1)
    with pytest.raises(StoreError, match=rf"run\.json: more than {size - 1:,} bytes; expected a run record"):
        made.record()


def test_a_record_that_cannot_be_read_is_named(made: RunDirectory) -> None:
    with pytest.raises(
        StoreError, match=r"cannot read .*run\.json: No such file or directory; run as the user"
    ):
        made.record()
    for text, said in (
        ("{", r"run\.json: it is not JSON \("),
        ("[" * 100_000, r"run\.json: it is nested too deeply"),
    ):
        (made.path / "run.json").write_text(text)
        with pytest.raises(StoreError, match=said):
            made.record()
    (made.path / "run.json").write_text('{"schema_version": 99}')
    with pytest.raises(ConfigError, match=r"^/.*run\.json: "):
        RunDirectory.load(made.path)


def test_a_report_is_written_whatever_characters_it_has(made: RunDirectory) -> None:
    path = made.write_text("a.md", "é \udcff")
    assert (path, path.read_bytes()) == (made.path / "a.md", "é ?".encode())
    made.write_text("a.md", "again")
    assert path.read_text() == "again"
    assert sorted(each.name for each in made.path.iterdir()) == ["a.md", "samples.jsonl"]


def test_names_are_one_harmless_component_and_stay_different() -> None:
    assert safe_name("guard-1.2_x") == "guard-1.2_x"
    odd = [safe_name(name) for name in ("a b", "a/b", "../a", ".a", "", "é", "x" * 200, "x" * 201, "\udcff")]
    assert len(set(odd)) == len(odd)
    for name in odd:
        assert "/" not in name
        assert name[0] not in ".-"
        assert len(name) <= run_dir.MAX_NAME + 9
    assert safe_name("a b") == "a-b-806c5cd3"  # its CRC-32
    assert safe_name("").startswith("trial-")
    moment = datetime.datetime(2026, 3, 1, 13, 30, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    assert run_id(moment, 4711) == "2026-03-01T12-30-05-4711"
    assert claim.RUN_ID.fullmatch(run_id(moment, 4711))


def test_without_a_folder_a_run_goes_below_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = RunDirectory.create(None, "id"), RunDirectory.create(None, "id")
    assert (first.path, first.run_id) == (Path("reports/id"), "id")
    assert (second.path, second.run_id) == (Path("reports/id-2"), "id-2")
    inside = RunDirectory.create(first.path, "other")
    assert (inside.path, inside.run_id) == (Path("reports/id/other"), "other")
    named = RunDirectory.create(tmp_path / "mine", "id")
    assert named.run_id == "id"
    assert stat.S_IMODE(named.trial_dir("a b").stat().st_mode) == 0o700


def test_a_hundred_runs_of_one_name_are_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "MAX_RUNS", 3)
    for name in ("id", "id-2", "id-3"):
        assert claim.fresh(tmp_path, "id", marker="m").name == name
    with pytest.raises(
        StoreError, match=r"cannot write to .*/id: it and 2 more exist; choose another output folder"
    ):
        claim.fresh(tmp_path, "id", marker="m")


def test_a_marker_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"cannot write .*/missing/m: No such file or directory; choose another place"
    ):
        claim._mark(tmp_path / "missing" / "m")


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [("fds", 3, True), ("fds", None, True), ("fds", True, False), ("fds", "3", False), ("fds", [3], False),
     ("fds", float("inf"), False), ("gap", "x", True), ("gap", 3, False), ("cpu", 0.5, True), ("cpu", "x", False),
     ("events", ["a"], True), ("events", None, False), ("events", "a", False), ("events", [3], False)],
)  # fmt: skip
def test_a_field_of_a_sample_has_its_type(name: str, value: object, fits: bool) -> None:
    data = {"at": 1.0, name: value}
    if fits:
        kept = tuple(value) if isinstance(value, list) else value
        assert getattr(read_sample(data), name) == kept
    else:
        with pytest.raises(ValueError, match=name):
            read_sample(data)
    for at in (True, "1", float("nan"), None):
        with pytest.raises(ValueError, match="no time"):
            read_sample({"at": at})


def test_a_folder_that_is_not_writable_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, said in (
        (tmp_path / "file", "it is a file; expected a directory, choose another output folder"),
        (tmp_path / "file" / "below", "it is a file; expected a directory, choose another output folder"),
        (Path("/proc/nowhere"), "No such file or directory; choose another place"),
    ):
        with pytest.raises(StoreError, match=said) as failed:
            RunDirectory.create(place, "id")
        assert f"cannot write to {place}: " in str(failed.value)


def test_the_keys_of_a_line_are_compact_json() -> None:
    line = sample_line("a", FIRST)
    assert line.startswith(tag("a"))
    assert b" " not in line
    assert json.loads(line)["per_process"] == [[7, "a", 4, 2, 4096, False]]
