"""The harness's own resources stay flat in a soak, and a full disk loses no cycle."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from harness.store.folder_limit import size_of
from harness.store.run_dir import RunDirectory
from tests.edges.command_line import HARNESS, SERVICES, TIMEOUT, URL, environment, mentioning, wait_for
from tests.edges.test_soak_resume import LOAD, cycles, saved

MIB = 1 << 20
SECONDS = 330  # about as many cycles as a soak of seven hours has
# A second counts for more than a minute: what a long soak fills within minutes, it fills within seconds here.
SCALED = (
    "import functools, harness.store.thin as thin, harness.store.folder_limit as limit\n"
    "import harness.probe.sampler as sampler\n"
    "sampler.History = functools.partial(sampler.History, 128, 64)\n"
    "thin.AGES = limit.AGES = ((10.0, 1.0), (60.0, 5.0)); limit.THIN_AT = 256 << 10\n"
    "from harness.cli import main; main()"
)


@dataclass(frozen=True, slots=True)
class Used:
    """What the processes of the harness hold, without the service. bytes of memory and of the run's folder."""

    cycles: int
    memory: int
    descriptors: int
    threads: int
    samples: int
    disk: int


def used(run: psutil.Process, folder: Path) -> Used:
    ours = [
        run,
        *(one for one in run.children(recursive=True) if "plain_sse.py" not in " ".join(one.cmdline())),
    ]
    return Used(
        cycles=cycles(folder),
        memory=sum(one.memory_info().rss for one in ours),
        descriptors=sum(one.num_fds() for one in ours),
        threads=sum(one.num_threads() for one in ours),
        samples=size_of(folder / "samples.jsonl"),
        disk=size_of(folder),
    )


@pytest.mark.soak(reason="an accelerated soak of more than five minutes")
@pytest.mark.timeout(3 * SECONDS)
def test_a_soak_holds_no_more_at_its_end_than_at_its_beginning(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    out = tmp_path / "run"
    words = (
        "soak",
        "--duration",
        f"{SECONDS}s",
        *LOAD,
        "--max-size",
        "8 MiB",
        "--out",
        str(out),
        "--url",
        URL,
    )
    service = ("--", sys.executable, str(SERVICES / "plain_sse.py"), "{port}", "healthy")
    seen: list[Used] = []
    with subprocess.Popen(
        [sys.executable, "-c", SCALED, *words, *service], env=environment(), stdout=subprocess.PIPE, text=True
    ) as soak:
        run = psutil.Process(soak.pid)
        wait_for(lambda: cycles(out) >= 20, "twenty cycles", within=TIMEOUT)
        # What follows the last cycle, the report among it, is not a part of the soak.
        while soak.poll() is None and not any(note["kind"] == "stopped" for note in saved(out)["notes"]):
            try:
                seen.append(used(run, out))
            except psutil.Error:
                pass  # the swarm or the run ended meanwhile
            time.sleep(1.0)
        said, _ = soak.communicate()
    assert soak.returncode == 0, said
    parts = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    names = ("memory", "descriptors", "threads", "samples", "disk")
    first, last = ({name: max(getattr(one, name) for one in part) for name in names} for part in parts)
    # Writing run.json takes a few megabytes for a moment: the typical size is the one that has to stay.
    for found, part in zip((first, last), parts, strict=True):
        found["memory"] = int(statistics.median(one.memory for one in part))
    figures = f"{len(saved(out)['observations'])} cycles: {first} in the first half, {last} in the second"
    record_property("soak", figures)
    print(figures)
    assert len(saved(out)["observations"]) >= 100
    assert last["memory"] - first["memory"] < 4 * MIB, figures
    assert last["descriptors"] <= first["descriptors"] + 2, figures
    assert last["threads"] <= first["threads"], figures
    assert last["samples"] <= max(2 * (256 << 10), 1.25 * first["samples"]), figures
    assert last["disk"] < 8 * MIB, figures
    assert any(note["text"].startswith("samples are thinned with age") for note in saved(out)["notes"])


@pytest.mark.soak(reason="half a minute; a guard on a full disk is a short test")
@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system is mounted: that needs root")
def test_a_soak_whose_disk_fills_up_keeps_every_cycle_and_continues_once_there_is_room(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # Room for a few cycles; later for all of them. The copy shows what was on the full disk.
    again = f"{' '.join(HARNESS)} soak --resume run --quiet"
    script = (
        'mount -t tmpfs -o size=88k none "$0" || exit 77; cd "$0"; "$@"; echo "full $?"; cp -r run ../full; '
        f'mount -o remount,size=20m "$0"; {again}; echo "then $?"; cp -r run ../then'
    )
    service = tmp_path / "plain_sse.py"
    service.write_bytes((SERVICES / "plain_sse.py").read_bytes())
    words = ("soak", "--duration", "25s", *LOAD, "--out", "run", "--url", URL)
    command = (*HARNESS, *words, "--", sys.executable, str(service), "{port}", "healthy")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(disk), *command],
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
        env=environment(),
    )
    assert "full 4" in done.stdout, done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert "then 0" in done.stdout or "then 3" in done.stdout, done.stdout + done.stderr
    full, then = saved(tmp_path / "full"), saved(tmp_path / "then")
    assert len(full["observations"]) >= 2
    assert then["observations"][: len(full["observations"])] == full["observations"]
    assert then["verdict"]["outcome"] in ("bounded", "inconclusive")
    assert not then["interrupted"]
    assert any("25 s are over" in note["text"] for note in then["notes"])
    _, samples = RunDirectory.load(tmp_path / "then")
    assert [one for _, one in samples]
    json.loads((tmp_path / "then" / "verdict.json").read_text())
    wait_for(lambda: not mentioning(service), "nothing is left")
