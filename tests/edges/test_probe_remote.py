"""Remote samples: a run reads what the command line prints, also after the connection was interrupted."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.core.cycle import CycleSpec, Phase
from harness.core.errors import ConfigError, ProbeError
from harness.core.metric import Key
from harness.core.plan import Stop
from harness.core.record import Trial
from harness.core.sample import Sample
from harness.experiment.guard import guard_once, setup_for
from harness.experiment.options import request_of
from harness.experiment.remote_target import RemoteTarget, open_remote_probe
from harness.probe.remote import RemoteSampler
from harness.probe.remote_command import RemoteCommand
from harness.probe.sampler import Sampler
from harness.probe.script import emit
from harness.probe.sockets import inbound
from harness.target.spawn import free_port
from tests.edges.probe_target import ScriptedProcess, state, wait_for
from tests.edges.test_probe_census import PAIRS

HARNESS = [sys.executable, "-m", "harness.cli"]


def probe_argv(pid: int) -> list[str]:
    return [*HARNESS, "probe", "--pid", str(pid), "--interval", "0.02"]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("far") / "probe.py"
    path.write_text(emit())
    return path


def old_pythons() -> Iterator[str]:
    """Every other Python of this machine that the script promises to run on."""
    for minor in range(8, 15):
        for place in (
            shutil.which(f"python3.{minor}"),
            *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"),
        ):
            if place and subprocess.run([place, "-c", ""], check=False, capture_output=True).returncode == 0:
                yield str(place)
                break


def test_the_script_runs_alone_on_any_python(script: Path, tmp_path: Path) -> None:
    with ScriptedProcess() as scripted:
        scripted.run(PAIRS + "kept += [pair() for _ in range(4)]")
        count = len(os.listdir(f"/proc/{scripted.pid}/fd"))
        common = {"capture_output": True, "text": True, "check": True, "cwd": tmp_path, "env": {}}
        # Found here and not when tests are collected: every worker would start each of them first.
        for python in (sys.executable, *old_pythons()):
            run = [python, "-I", "-S", str(script), "--pid", str(scripted.pid)]
            hello, *samples = map(
                json.loads, subprocess.run([*run, "--count", "3"], **common).stdout.splitlines()
            )
            _, taken = map(json.loads, subprocess.run([*run, "--census"], **common).stdout.splitlines())
            assert hello["probe"] == 1, python
            assert [sample["fds"] for sample in samples] == [count] * 3, python
            assert taken["census"]["fds"]["tcp-in"] == 4, python
            assert sum(taken["census"]["fds"].values()) == count, python


def test_the_command_line_prints_the_same_script(script: Path) -> None:
    said = subprocess.run([*HARNESS, "probe", "--emit-script"], capture_output=True, text=True, check=True)
    assert said.stdout == script.read_text()


def test_a_sample_a_census_and_a_question_come_over_the_line() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(PAIRS + "kept += [pair() for _ in range(3)]")
        port = int(str(scripted.run("answer = port")))
        with RemoteSampler(probe_argv(scripted.pid), clock=time.monotonic) as far:
            assert far.pid == scripted.pid
            count = len(os.listdir(f"/proc/{scripted.pid}/fd"))
            wait_for(lambda: far.latest().fds == count, "its descriptors, however late the line is")
            assert far.inbound(port) == 3
            assert far.census(1.0).fds["tcp-in"] == 3
            assert far.limits()["RLIMIT_NOFILE"] > 0
            scripted.process.kill()
            scripted.process.wait()
            wait_for(lambda: far.ended, "its end is told")
            assert "has exited" in (far.latest().gap or "")
            assert far.latest().fds is None


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_the_last_sample_before_the_end_is_a_gap(where: str) -> None:
    """Otherwise the last reading of an exited process would be one in which it still ran."""
    ended_before_the_report: list[bool] = []
    known: list[Sampler | RemoteSampler] = []

    def record_exit(sample: Sample) -> None:
        if "has exited" in (sample.gap or ""):
            ended_before_the_report.append(known[0].ended)

    with ScriptedProcess() as scripted:
        sampler = (
            Sampler(scripted.pid, clock=time.monotonic, on_sample=record_exit)
            if where == "here"
            else RemoteSampler(probe_argv(scripted.pid), clock=time.monotonic, on_sample=record_exit)
        )
        known.append(sampler)
        with sampler:
            scripted.process.kill()
            scripted.process.wait()
            wait_for(lambda: sampler.ended, "its end")
            assert "has exited" in (sampler.latest().gap or "")
    assert ended_before_the_report == [False]


def test_invalid_orders_are_answered_and_do_not_end_the_probe() -> None:
    orders = [
        "foo",
        "inbound",
        "inbound x",
        "inbound 65536",
        "inbound ²",
        "inbound -1",
        "\x1b[2J",
        "",
        "inbound 1",
    ]
    with ScriptedProcess() as scripted, RemoteSampler(probe_argv(scripted.pid), clock=time.monotonic) as far:
        for order in orders[:-1]:
            with pytest.raises(ProbeError, match="expected census, inbound PORT or limits"):
                far._ask(order, "inbound")
        assert far._ask(orders[-1], "inbound") == 0
        wait_for(lambda: far.latest().fds, "it goes on")


def test_a_cut_line_is_a_gap_and_is_taken_up_again(tmp_path: Path) -> None:
    """The first run of the command ends after a few samples, the second one lasts."""
    once = tmp_path / "once"
    code = (
        "import os, sys\n"
        f"first = not os.path.exists({str(once)!r}); open({str(once)!r}, 'w').close()\n"
        "argv = sys.argv[1:] + (['--count', '3'] if first else [])\n"
        "os.execv(argv[0], argv)\n"
    )
    with ScriptedProcess() as scripted:
        argv = [sys.executable, "-c", code, *probe_argv(scripted.pid)]
        with RemoteSampler(argv, clock=time.monotonic, retry=0.05) as far:
            wait_for(lambda: any(s.gap for s in far.samples()), "the cut is seen")
            wait_for(lambda: far.latest().gap is None and far.samples()[-1].fds, "the line is back")
            gaps = [sample for sample in far.samples() if sample.gap]
            assert "connection to the remote probe broke" in (gaps[0].gap or "")
            assert gaps[0].fds is None
            assert not far.ended


def test_a_question_on_a_line_that_is_cut_has_no_answer_and_no_zero() -> None:
    with ScriptedProcess() as scripted:
        code = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
        argv = [sys.executable, "-c", code, *probe_argv(scripted.pid), "--count", "2"]
        with RemoteSampler(argv, clock=time.monotonic, retry=60.0) as far:
            wait_for(lambda: far.samples()[-1].gap, "it is cut")
            assert far.inbound(80) is None
            taken = far.census(0.0)
            assert taken.fds == {}
            assert "connection to the remote probe is broken" in taken.unreadable[0]


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ('{"probe": 99, "version": "9"}', "uses protocol 99"),
        ("Welcome to host!", "printed 'Welcome to host!'"),
        ("", "sent no sample"),
    ],
)
def test_another_protocol_is_refused_at_once(says: str, expected: str) -> None:
    with pytest.raises(ProbeError, match=expected):
        RemoteSampler(["printf", "%s\n", says], clock=time.monotonic)


# One whose only sample is the newest for as long as a test lasts.
RARELY = {"probe": 1, "pid": 7, "interval": 100.0, "started": 5, "boot": "b", "orders": True}
HELLO = {**RARELY, "interval": 0.1}


@pytest.mark.parametrize(
    "says",
    [
        [{**HELLO, "pid": "7"}],
        [{**HELLO, "interval": None}],
        [HELLO, {"at": "soon", "fds": 1}],
        [HELLO, {"at": float("nan"), "fds": 1}],
        [HELLO, {"at": 1.0, "fds": "many"}],
        [HELLO, {"at": 1.0, "fds": True}],
        [HELLO, {"at": 1.0, "fds": 10**40}],
        [HELLO, {"at": 1.0, "gap": 3}],
        [HELLO, {"at": 1.0, "per_process": 3}],
        [HELLO, {"at": 1.0, "per_process": [{"pid": 1, "name": "x", "fds": []}]}],
        [HELLO, {"at": 1.0, "events": 3}],
    ],
    ids=lambda says: json.dumps(says[-1])[:60],
)
def test_a_damaged_line_is_one_clear_error(says: list[dict[str, object]]) -> None:
    argv = ["printf", "%s\n", *map(json.dumps, says)]
    with pytest.raises(ProbeError, match=r"sent a damaged (sample|first line)"):
        RemoteSampler(argv, clock=time.monotonic)


@pytest.mark.parametrize(
    "says",
    [
        {"census": 3},
        {"census": {"fds": {"file": "many"}}},
        {"census": {"fds": [1]}},
        {"census": {"cpu": {}}},
        {"census": {"examples": {"file": 3}}},
        {"error": "\x1b[2J"},
    ],
    ids=json.dumps,
)
def test_a_damaged_answer_is_no_reading(says: dict[str, object]) -> None:
    """The command answers every request with the damaged answer; the connection itself continues."""
    code = (
        "import sys\n"
        f"print({json.dumps(RARELY)!r}); print({json.dumps({'at': 1.0, 'fds': 3})!r}, flush=True)\n"
        f"for order in sys.stdin: print({json.dumps(says)!r}, flush=True)"
    )
    with RemoteSampler([sys.executable, "-c", code], clock=time.monotonic) as far:
        taken = far.census(1.0)
        assert taken.fds == {}
        assert "fds and all else: the remote probe" in taken.unreadable[0]
        assert "\x1b" not in taken.unreadable[0]
        assert far.inbound(80) is None
        with pytest.raises(ProbeError, match="the remote probe"):
            far.limits()
        assert far.latest().fds == 3


def test_unexpected_and_oversized_answers_are_dropped() -> None:
    sample = {"at": 1.0, "fds": 3, "gap": "x" * 1000, "events": ["y" * 1000] * 30}
    code = (
        "import sys\n"
        f"print({json.dumps(HELLO)!r})\n"
        f"print({json.dumps({'at': 0.0, 'fds': 2})!r}, flush=True)\n"
        'for number in range(10000): print(\'{"error": "unasked"}\')\n'
        f"sys.stdout.write({json.dumps(sample)!r}.replace('1.0', '2.0') + chr(10)); sys.stdout.flush()\n"
        "for order in sys.stdin: print('{\"inbound\": 5}', flush=True)"
    )
    with RemoteSampler([sys.executable, "-c", code], clock=time.monotonic) as far:
        wait_for(lambda: far.samples()[-1].gap, "the sample after them")
        last = far.samples()[-1]
        assert len(last.gap or "") == 500
        assert [len(event) for event in last.events] == [500] * 20
        assert far._answers.qsize() <= 8
        assert far.inbound(80) == 5


def test_a_command_that_does_not_exist_and_one_that_takes_no_orders() -> None:
    with pytest.raises(ProbeError, match="no-such-command"):
        RemoteSampler(["no-such-command"], clock=time.monotonic)
    with ScriptedProcess() as scripted:
        deaf = ["sh", "-c", 'exec "$@" < /dev/null', "sh", *probe_argv(scripted.pid)]
        with pytest.raises(ProbeError, match="does not read requests"):
            open_remote_probe(tuple(deaf), clock=time.monotonic, on_sample=lambda _: None)


def pgid(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def own_descriptors() -> dict[str, str]:
    """Every descriptor of this process, and what it points to."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            pass  # of this listing itself
    return found


@pytest.mark.parametrize("held", [(), (1, 2), (2,)], ids=["nothing", "both pipes", "stderr"])
def test_every_descriptor_is_closed_even_if_another_process_holds_the_other_end(
    held: tuple[int, ...], tmp_path: Path
) -> None:
    """A process that the command starts may leave its group and keep its pipes open, so the harness must close them
    itself. The command exits after a few samples and is restarted repeatedly."""
    note = tmp_path / "pids"
    code = (
        "import os, signal, sys\n"
        f"if {held!r} and not os.fork():\n"
        f"    os.setsid(); [os.close(n) for n in (0, 1, 2) if n not in {held!r}]\n"
        f"    os.write(os.open({str(note)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), b'%d ' % os.getpid())\n"
        "    signal.pause()\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    before, threads = own_descriptors(), set(threading.enumerate())
    children = set(psutil.Process().children())
    try:
        with ScriptedProcess() as scripted:
            argv = [sys.executable, "-c", code, *probe_argv(scripted.pid), "--count", "2"]
            with RemoteSampler(argv, clock=time.monotonic, retry=0.01) as far:
                if 1 not in held:  # where the pipe is kept, the line is silent and no end is seen
                    wait_for(
                        lambda: sum(bool(s.gap) for s in far.samples()) >= 3, "three ends of the command"
                    )
                wait_for(lambda: not held or note.exists(), "another process holds a descriptor")
                listening = [thread for thread in threading.enumerate() if thread.name == "probe-stderr"]
                assert len(listening) <= 1
                command = far._command._process.pid
            assert set(threading.enumerate()) <= threads
            assert not Path(f"/proc/{command}").exists()
        assert own_descriptors().items() <= before.items()
        assert set(psutil.Process().children()) <= children
    finally:
        for pid in map(int, note.read_text().split() if note.exists() else ()):
            os.kill(pid, signal.SIGKILL)


def test_an_exited_command_keeps_its_pid_until_its_group_is_killed() -> None:
    """Reaped before, the number could be another group's by the time it is killed."""
    line = RemoteCommand(["sh", "-c", "sleep 60 >&- 2>&- & exit 3"])
    assert line.read() == []
    assert line.exit_text() == "the command exited with 3"
    assert state(line._process.pid) == "Z"
    group = line._process.pid
    assert len(members(group)) == 1
    line.close()
    wait_for(lambda: not members(group), "its group was killed")
    line.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_silent_probe_command_ends_with_the_harness(how: signal.Signals) -> None:
    """Like an ssh that has lost its network: nothing that it writes would show that the reader has exited."""
    code = (
        "import signal\n"
        "from harness.probe.remote_command import RemoteCommand\n"
        "line = RemoteCommand(['sh', '-c', 'sleep 600; true'])\n"
        "print(line._process.pid, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        group = int(harness.stdout.readline())
        wait_for(lambda: len(members(group)) == 2, "the shell and its sleep")
        harness.send_signal(how)
        harness.wait()
    wait_for(lambda: not members(group), "both have ended")


def members(group: int) -> list[int]:
    """The processes of a group that have not exited."""
    found = []
    for pid in psutil.pids():
        try:
            if pgid(pid) == group and state(pid) != "Z":
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become a user who may not kill")
def test_a_command_that_may_not_be_killed_ends_without_a_reader(tmp_path: Path) -> None:
    """The command runs as another user, as with sudo."""
    code = (
        "import os\n"
        "from harness.probe.remote_command import RemoteCommand\n"
        "line = RemoteCommand(['sh', '-c', 'while echo {}; do sleep 0.01; done; exit 7'])\n"
        "line.read(); os.setresuid(65534, 65534, 0)\n"
        "line.close(); print(line._process.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout in ("-13\n", "7\n")  # SIGPIPE, or its echo says so


def test_a_restart_while_disconnected_is_an_exit_and_no_fix(tmp_path: Path) -> None:
    """The command reads the current process under a name, such as pid 1 of a container: another process is another
    service."""
    which = tmp_path / "pid"
    code = (
        "import os, sys\n"
        f"pid = open({str(which)!r}).read()\n"
        "os.execv(sys.argv[1], [*sys.argv[1:], '--pid', pid, '--interval', '0.02', '--count', '3'])\n"
    )
    with ScriptedProcess() as scripted, ScriptedProcess() as again:
        scripted.run("import os; kept += [os.open('/dev/null', 0) for _ in range(50)]")
        which.write_text(str(scripted.pid))
        argv = [sys.executable, "-c", code, *HARNESS, "probe"]
        with RemoteSampler(argv, clock=time.monotonic, retry=0.05) as far:
            target = RemoteTarget(far)
            assert target.alive
            which.write_text(str(again.pid))
            wait_for(lambda: far.ended, "the other process is noticed")
            assert not target.alive
            assert "is another process now" in (far.latest().gap or "")
            assert all(sample.fds is None or sample.fds > 50 for sample in far.samples())


def test_a_guard_reads_a_service_through_a_command(tmp_path: Path) -> None:
    """Two cycles on a service that the guard has not started and cannot read itself."""
    port = free_port()
    service = Path(__file__).parents[1] / "services" / "plain_sse.py"
    with subprocess.Popen([sys.executable, str(service), str(port), "eventfd"]) as child:
        try:
            wait_for(lambda: inbound(child.pid, port) is not None and listens(port), "it listens")
            request = request_of(
                url=f"http://127.0.0.1:{port}/e",
                probe_command=shlex.join(probe_argv(child.pid)),
                connections=20,
                concurrency=10,
                settle=0.2,
                out=tmp_path / "run",
            )
            done = guard_once(request, command="far", steps=two_cycles)
            assert child.poll() is None  # watched, never stopped
        finally:
            child.kill()
    first, second = done.trial.observations
    assert done.trial.infrastructure is None
    assert done.trial.target.pid == child.pid
    assert second.levels[Key("fds", "eventfd")] - first.levels[Key("fds", "eventfd")] == 20
    assert "RLIMIT_NOFILE" in done.trial.target.limits


def two_cycles(trial: Trial) -> CycleSpec | Stop:
    index = len(trial.observations)
    return CycleSpec(index, 20, 10, 1.0, 1, "fin", ("/e",), Phase.LOAD) if index < 2 else Stop("enough")


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"probe_command": "ssh 'host"}, "quotes closed"),
        ({"probe_command": " "}, "expected a command"),
        ({"probe_command": "true", "pid": 1}, "cannot be used with probe_command"),
        ({"probe_command": "true", "runtime": "python"}, "cannot be used with probe_command"),
        ({}, "no service given; expected one of"),
    ],
)
def test_an_invalid_request_is_refused(more: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        setup_for(request_of(url="http://127.0.0.1:1/", **more))  # type: ignore[arg-type]
