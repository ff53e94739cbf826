"""The folder of a long run is limited, and the least important data is removed first."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.core.errors import StoreError
from harness.core.sample import Sample
from harness.store import folder_limit as tidy_module
from harness.store.folder_limit import FolderLimit, size_of
from harness.store.lines import LineFile, sample_line
from harness.store.logs import cut_to_tail, set_aside
from harness.store.run_dir import RunDirectory
from harness.store.thin import AGES, COARSE, METRICS, thinned
from tests.edges.test_store_lines import room_for

MIB = 1 << 20


def hours(count: float, seed: int = 1, per_second: int = 10) -> list[Sample]:
    """Readings that move, ten a second."""
    noise = random.Random(seed)
    return [
        Sample(
            number / per_second,
            fds=noise.randrange(900),
            threads=noise.randrange(90),
            rss=noise.randrange(10**9),
        )
        for number in range(int(count * 3600 * per_second))
    ]


def lines(samples: Sequence[Sample], trial: str = "soak") -> list[bytes]:
    return [sample_line(trial, sample) + b"\n" for sample in samples]


def of(kept: Sequence[bytes]) -> list[dict[str, float]]:
    return [json.loads(line) for line in kept]


def test_each_bucket_keeps_its_lowest_highest_and_last_reading() -> None:
    samples = hours(1.5, per_second=2)
    end = samples[-1].at
    kept = of(list(thinned(lines(samples), end)))
    assert [one["at"] for one in kept] == sorted(one["at"] for one in kept)
    for young_from, old_until, width in (
        (end - 600, None, 0),
        (end - 3600, end - 600, 10),
        (0, end - 3600, 60),
    ):
        before = [one for one in of(lines(samples)) if young_from < one["at"] <= (old_until or end)]
        after = [one for one in kept if young_from < one["at"] <= (old_until or end)]
        if not width:
            assert after == before, "the last ten minutes are whole"
            continue
        whole = range(int(young_from // width) + 1, int((old_until or 0) // width))
        for bucket in whole:
            had, has = ([one for one in found if one["at"] // width == bucket] for found in (before, after))
            assert has[-1] == had[-1]
            assert 2 <= len(has) <= 2 * len(METRICS) + 1
            for metric in METRICS:
                assert min(one[metric] for one in has) == min(one[metric] for one in had)
                assert max(one[metric] for one in has) == max(one[metric] for one in had)


def test_eight_hours_take_no_more_than_a_megabyte_and_thinning_again_changes_nothing() -> None:
    """As it grows: thinned once an hour."""
    kept: list[bytes] = []
    for hour in range(8):
        noise = random.Random(hour)
        start = 3600 * hour
        kept += lines(
            [Sample(start + n, fds=noise.randrange(900), threads=n % 7, rss=n) for n in range(3600)]
        )
        kept = list(thinned(kept, start + 3599.0))
    once = list(thinned(kept, 8 * 3600.0))
    assert once == list(thinned(once, 8 * 3600.0))
    assert sum(map(len, kept)) < MIB
    assert len(of(kept)) < 8 * 60 * 7 + 360 * 7 + 600


def test_gaps_events_other_trials_and_lines_that_cannot_be_read_stay() -> None:
    odd = [
        *lines([Sample(1.0, fds=5), Sample(2.0, gap="the probe was held up"), Sample(3.0, gap="again")]),
        *lines([Sample(4.0, fds=5, events=("12 ended",)), Sample(5.0, fds=5), Sample(6.0, fds=5)]),
        *lines([Sample(7.0, fds=5)], trial="another"),
        b'{"trial":"soak","at":\n',
        b"[1]\n",
        *lines([Sample(9.0, fds=5)]),
    ]
    kept = list(thinned(odd, 9999.0))
    assert [line for line in odd if line not in kept] == [odd[2], odd[4]]
    assert list(thinned(odd, 9.0)) == odd


def test_lines_that_are_written_meanwhile_are_kept(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "samples.jsonl")
    before = hours(0.1)
    for sample in before:
        file.add(sample_line("soak", sample))
    started, done = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set() or number < 300:
            file.add(sample_line("soak", Sample(2000.0 + number, fds=number)))
            file.flush()
            number += 1
            started.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert started.wait(30)
    for _ in range(5):
        file.rewrite(lambda found: thinned(found, 2000.0))
    done.set()
    writer.join()
    file.close()
    ats = [one["at"] for one in of((tmp_path / "samples.jsonl").read_bytes().splitlines())]
    late = [at for at in ats if at >= 2000]
    assert late == [2000.0 + number for number in range(len(late))]
    assert len(late) >= 300
    assert len(ats) - len(late) < len(before) / 2
    assert (tmp_path / "samples.jsonl").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]


def test_a_disk_without_room_for_the_thinned_samples_leaves_them_whole(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    file = LineFile(path)
    for sample in hours(0.3):
        file.add(sample_line("soak", sample))
    file.flush()
    before = path.read_bytes()
    with room_for(1000), pytest.raises(StoreError, match="File too large"):
        file.rewrite(lambda found: found)
    assert path.read_bytes() == before
    file.add(b"{}")
    file.close()
    assert path.read_bytes() == before + b"{}\n"
    assert list(tmp_path.iterdir()) == [path]


def test_samples_are_thinned_once_they_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy_module, "THIN_AT", MIB)
    with RunDirectory.create(tmp_path / "run", "id") as directory, directory.samples("soak") as writer:
        limit = FolderLimit(directory)
        notes = []
        for sample in hours(1.0):
            writer.write(sample)
            if sample.at % 60 == 0:
                notes += limit.apply(sample.at)
                assert size_of(directory.path) < 3 * MIB
        assert set(notes) == {
            "samples are thinned with age: the lowest, highest and last of every 10 s after 10 minutes, of every "
            "minute after an hour"
        }
        assert not limit.full
        assert len(list(directory.read_samples("soak"))) > 6000


def filled(folder: Path) -> RunDirectory:
    directory = RunDirectory.create(folder, "id")
    soak = directory.trial_dir("soak")
    (soak / "swarm").mkdir()
    for number, name in enumerate(("target.1.log", "target.old.log", "target.log", "swarm/swarm.log")):
        (soak / name).write_bytes(b"x" * (3 * MIB - 1) + b"\n")
        (soak / name).chmod(0o600)
        stamp = 1_700_000_000 + number
        os.utime(soak / name, (stamp, stamp))
    return directory


@pytest.mark.parametrize(
    ("most", "left_out"),
    [
        (13, []),
        (11, ["soak/target.1.log was removed"]),
        (8, ["soak/target.1.log was removed", "soak/target.old.log was removed"]),
        (
            5,
            [
                "soak/target.1.log was removed",
                "soak/target.old.log was removed",
                "soak/swarm/swarm.log was cut to its tail",
            ],
        ),
    ],
)
def test_at_the_limit_old_logs_go_first_and_live_ones_keep_their_tail(
    most: int, left_out: list[str], tmp_path: Path
) -> None:
    with filled(tmp_path / "run") as directory:
        limit = FolderLimit(directory, most * MIB)
        notes = limit.apply(10.0)
        assert [
            note.removeprefix(f"the folder reached its limit of {most} MiB: ") for note in notes
        ] == left_out
        assert size_of(directory.path) <= most * MIB
        assert not limit.full
        assert limit.apply(11.0) == []


def test_a_folder_full_of_files_that_must_stay_is_reported(tmp_path: Path) -> None:
    with filled(tmp_path / "run") as directory:
        (directory.path / "run.json").write_bytes(b" " * (2 * MIB))
        limit = FolderLimit(directory, MIB)
        assert len(limit.apply(1.0)) == 4
        assert limit.full
        assert (directory.path / "run.json").stat().st_size == 2 * MIB
        assert (
            (directory.path / "soak" / "target.log")
            .read_bytes()
            .startswith(b"[harness: the log passed 3145728 bytes")
        )


def test_samples_are_thinned_further_before_a_live_log_is_cut(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", "id") as directory, directory.samples("soak") as writer:
        for sample in hours(0.4):
            writer.write(sample)
        writer.flush()
        log = directory.trial_dir("soak") / "target.log"
        log.write_bytes(b"x" * 2 * MIB)
        before = size_of(directory.path)
        limit = FolderLimit(directory, before - 1)
        (note,) = limit.apply(0.4 * 3600)
        assert "samples older than a minute keep the lowest, highest and last of every minute" in note
        assert log.stat().st_size == 2 * MIB
        assert COARSE[0][0] < AGES[0][0]


def test_a_log_that_is_written_to_is_cut_without_losing_what_comes(tmp_path: Path) -> None:
    log = tmp_path / "target.log"
    with log.open("ab", buffering=0) as service:
        service.write(b"x" * 5000 + b"\nlast words\n")
        cut_to_tail(log, 100)
        service.write(b"and more\n")
    text = log.read_bytes()
    assert text.startswith(b"[harness: the log passed 5012 bytes and was cut to its tail]\n")
    assert text.endswith(b"x\nlast words\nand more\n")
    before = log.read_bytes()
    cut_to_tail(log, 1000)
    assert log.read_bytes() == before


def test_logs_of_an_earlier_process_are_set_aside_by_the_next_free_number(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "target.log").write_text(text)
        (tmp_path / "target.old.log").write_text(f"{text}, rotated")
        set_aside(tmp_path, ("target.log", "broker.log"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "target.1.log": "first",
        "target.2.log": "second",
        "target.old.1.log": "first, rotated",
        "target.old.2.log": "second, rotated",
    }
