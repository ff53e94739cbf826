"""The agent inside a target: it does not change the target's behaviour, and the target cannot crash by it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.errors import ProbeError
from harness.process.child import Child
from harness.runtime import channel
from harness.runtime.counters import OBJECTS, Counters, Unavailable
from harness.runtime.python import PythonCounters, prepare_env, refusal
from tests.edges.servers.clients import wait_for

NOBODY = 65534
ENDINGS = {
    "exit code": "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)",
    "exception": "print('out', flush=True); raise ValueError('said')",
    "os._exit": "import os; os._exit(5)",
    "atexit": "import atexit; atexit.register(print, 'bye'); print('hello')",
    "signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "abort": "import os; os.abort()",
    "interrupt": "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(20)",
    "handler": (
        "import signal, os\n"
        "signal.signal(signal.SIGUSR1, lambda *a: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1); print(signal.getsignal(signal.SIGINT).__name__)"
    ),
    "sigwait": (  # to the whole process: if the agent's thread did not block it, the signal would end the target
        "import signal, os\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\n"
        "for _ in range(200):\n"
        "    os.kill(os.getpid(), signal.SIGUSR2); name = signal.sigwait([signal.SIGUSR2]).name\n"
        "print(name)"
    ),
    "threads": "import threading; print([t.name for t in threading.enumerate()], threading.active_count())",
    "path": "import sys; print([p for p in sys.path if 'agent' in p], 'sitecustomize' in sys.modules)",
    "descriptors": "import os; print(os.open('/dev/null', os.O_RDONLY), os.dup(0))",
    "fork": (
        "import os\npid = os.fork()\nif not pid: os._exit(9)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    ),
    "umask": "import os; print(oct(os.umask(0)))",
    "warnings": "import warnings; warnings.warn('seen'); print(len(warnings.filters))",
}


def run(code: str, env: dict[str, str], *, python: str = sys.executable) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [python, "-c", code], env=env, capture_output=True, timeout=30, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def with_agent(folder: Path) -> dict[str, str]:
    return prepare_env(os.environ, folder / "agents")


def start(code: str, folder: Path, env: dict[str, str] | None = None, *options: str) -> Child:
    argv = [sys.executable, *options, "-c", code]
    return Child.spawn(argv, log=folder / "log", name="target", env=env or with_agent(folder))


def answering(folder: Path, pid: int, processes: int = 1) -> PythonCounters:
    reader = PythonCounters(folder / "agents", pid)
    wait_for(
        lambda: isinstance(found := reader.probe(), Counters) and len(found.processes) == processes,
        f"{processes} agents that answer",
    )
    return reader


@pytest.mark.parametrize("ending", ENDINGS, ids=[name.replace(" ", "-") for name in ENDINGS])
def test_output_and_exit_of_a_target_are_unchanged(ending: str, tmp_path: Path) -> None:
    code = ENDINGS[ending]
    assert run(code, with_agent(tmp_path)) == run(code, dict(os.environ))


def installed(minor: int) -> str | None:
    """Another Python: on PATH, or beside our own as version managers put them."""
    beside = Path(sys.base_prefix).parent.glob(f"3.{minor}.*/bin/python3")
    for path in (shutil.which(f"python3.{minor}"), *map(str, beside)):
        if path and not subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode:
            return path
    return None


BETWEEN = pytest.mark.soak(reason="a version between those that the short tests run")


@pytest.mark.parametrize(
    "minor", [8, pytest.param(9, marks=BETWEEN), pytest.param(10, marks=BETWEEN), 12, 13, 14]
)
def test_the_agent_changes_nothing_in_other_pythons_and_answers(minor: int, tmp_path: Path) -> None:
    python = installed(minor)
    if not python:
        pytest.skip(f"python3.{minor} is not installed")
    for ending in ("exit code", "exception", "sigwait", "descriptors", "fork", "path"):
        same = [run(ENDINGS[ending], env, python=python) for env in (with_agent(tmp_path), dict(os.environ))]
        assert same[0] == same[1], ending
    code = "import signal; signal.pause()"
    with Child.spawn([python, "-c", code], log=tmp_path / "log", name="t", env=with_agent(tmp_path)) as child:
        assert answering(tmp_path, child.pid).read()[OBJECTS] > 1000


def test_the_agent_leaves_no_file_behind(tmp_path: Path) -> None:
    run("print()", with_agent(tmp_path))
    assert not list((tmp_path / "agents").iterdir())


def test_the_next_sitecustomize_on_the_path_runs(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('own sitecustomize')\n")
    env = prepare_env({**os.environ, "PYTHONPATH": str(own)}, tmp_path / "agents")
    code = "import sitecustomize; print(sitecustomize.__file__)"
    assert run(code, env)[1].decode().splitlines() == [
        "own sitecustomize",
        str(own / "sitecustomize.py"),
    ]
    with_fault = "raise RuntimeError('their fault')\n"
    (own / "sitecustomize.py").write_text(with_fault)
    assert run("print(1)", env) == run("print(1)", {**os.environ, "PYTHONPATH": str(own)})


def test_a_forked_child_answers_on_a_socket_of_its_own(tmp_path: Path) -> None:
    code = "import os, signal\nfor _ in range(3):\n    if not os.fork(): break\nsignal.pause()"
    with start(code, tmp_path) as child:
        found = answering(tmp_path, child.pid, 4).read()
        assert child.pid in found.processes


def test_the_agent_answers_again_after_an_exec(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "if len(sys.argv) == 1: os.execv(sys.executable, [sys.executable, '-c', os.environ['CODE'], 'again'])\n"
        "import colorsys; signal.pause()"
    )
    with start(code, tmp_path, {**with_agent(tmp_path), "CODE": code}) as child:
        wait_for(lambda: b"again" in Path(f"/proc/{child.pid}/cmdline").read_bytes(), "the second program")
        assert answering(tmp_path, child.pid).read().processes == (child.pid,)


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_a_python_that_cannot_load_it_reports_it(option: str, tmp_path: Path) -> None:
    with start("import signal; signal.pause()", tmp_path, None, option) as child:
        wait_for(lambda: b"pause" in Path(f"/proc/{child.pid}/cmdline").read_bytes(), "the program")
        found = PythonCounters(tmp_path / "agents", child.pid).probe()
        assert isinstance(found, Unavailable)
        assert f"runs with {option}" in found.reason


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("-W error -I app.py", "-I"),
        ("-uX dev -E app.py", "-E"),
        ("-Werror -S app.py", "-S"),
        ("-W -I app.py", ""),  # here -I is the value of -W
        ("-m app -I", ""),
        ("-cpass -S", ""),
        ("app.py -I", ""),
    ],
)
def test_the_options_of_the_interpreter_are_told_from_their_values_and_from_the_programs(
    words: str, option: str
) -> None:
    found = refusal(["python", *words.split()])
    assert found.startswith(f"runs with {option} ") if option else found == ""


def test_a_target_that_closes_every_descriptor_gets_its_usual_numbers(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "os.closerange(3, 70000)\n"
        "mine = [os.open('/dev/null', os.O_RDONLY) for _ in range(5)]\n"
        "print(mine, flush=True)\n"
        "signal.pause()"
    )
    with start(code, tmp_path) as child:
        wait_for(lambda: child.tail(), "its own descriptors")
        assert json.loads(child.tail()[0]) == [3, 4, 5, 6, 7]
        answering(tmp_path, child.pid)
        for number in (3, 4, 5, 6, 7):
            assert os.readlink(f"/proc/{child.pid}/fd/{number}") == "/dev/null"


def test_a_read_only_file_system_leaves_the_target_alone(tmp_path: Path) -> None:
    folder = tmp_path / "agents"
    env = with_agent(tmp_path)
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounting a read-only file system takes root")
    mount = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    code = "import errno\ntry: open(__import__('os').environ['HARNESS_RUNTIME_DIRECTORY'] + '/x', 'w')\n"
    code += "except OSError as error: print(errno.errorcode[error.errno])"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, str(folder), sys.executable, "-c", code],
        env=env,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"EROFS\n", b"")


def test_the_socket_is_private_and_answers_only_its_own_user(tmp_path: Path) -> None:
    with start("import signal; signal.pause()", tmp_path) as child:
        answering(tmp_path, child.pid)
        folder = tmp_path / "agents"
        path = folder / f"python-{child.pid}.sock"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        if os.geteuid() != 0:
            pytest.skip("to become another user takes root; the modes were checked")
        assert refused(path, NOBODY) == "EACCES"
        # The way is opened on purpose: now the agent itself must refuse (SO_PEERCRED).
        path.chmod(0o666)
        opened = [part for part in (folder, *folder.parents) if not part.stat().st_mode & 0o001]
        before = {part: stat.S_IMODE(part.stat().st_mode) for part in opened}
        try:
            for part in opened:
                part.chmod(before[part] | 0o001)
            assert _peer(path, NOBODY) == 0
            assert _peer(path, os.geteuid()) > 0
        finally:
            for part in opened:
                part.chmod(before[part])


def refused(path: Path, user: int) -> str:
    """The name of the kernel's error when ``user`` connects to the socket; ``connected`` if that succeeds."""
    code = (
        "import errno, os, socket, sys\nuser = int(sys.argv[2])\n"
        "os.setgroups([]); os.setgid(user); os.setuid(user)\n"
        "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "except OSError as error: print(errno.errorcode[error.errno])\n"
        "else: print('connected')"
    )
    argv = [sys.executable, "-I", "-c", code, str(path), str(user)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _peer(path: Path, user: int) -> int:
    """Bytes that the agent answers to a peer of this user."""
    code = (
        "import os, socket, sys\nuser = int(sys.argv[2])\n"
        "if user != os.geteuid(): os.setgroups([]); os.setgid(user); os.setuid(user)\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n"
        "try:\n    s.sendall(b'read\\n'); print(len(s.recv(100)))\nexcept ConnectionError: print(0)"
    )
    argv = [sys.executable, "-I", "-c", code, str(path), str(user)]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr.decode()
    return int(done.stdout)


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ProbeError, match="mode 755"):
        prepare_env(os.environ, tmp_path)
    tmp_path.chmod(0o700)


def test_an_unresponsive_agent_is_an_error_and_not_a_zero(tmp_path: Path) -> None:
    with start("import signal; signal.pause()", tmp_path) as child:
        answering(tmp_path, child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        threads = list(Path(f"/proc/{child.pid}/task").glob("*/stat"))
        # Each thread stops by itself, as soon as it notices.
        wait_for(lambda: all(") T " in stat.read_text() for stat in threads), "all threads have stopped")
        path = tmp_path / "agents" / f"python-{child.pid}.sock"
        with pytest.raises(ProbeError, match="no answer to 'read'"):
            channel.ask(path, "read", timeout=0.2)
        os.kill(child.pid, signal.SIGCONT)
        with pytest.raises(ProbeError, match="unknown command"):
            channel.ask(path, "nonsense")


def test_the_agent_can_be_imported_by_a_service_that_the_harness_does_not_start(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    env = {**os.environ, channel.DIRECTORY: str(tmp_path / "agents"), "PYTHONPATH": str(root)}
    code = "import harness.runtime.agent, signal; signal.pause()"
    with start(code, tmp_path, env) as child:
        answering(tmp_path, child.pid)


def test_in_a_shared_folder_only_the_target_is_read(tmp_path: Path) -> None:
    code = "import signal; signal.pause()"
    with start(code, tmp_path) as one, start(code, tmp_path) as other:
        answering(tmp_path, one.pid, 2)
        assert PythonCounters(tmp_path / "agents", one.pid, shared=True).read().processes == (one.pid,)
        assert PythonCounters(tmp_path / "agents", other.pid, shared=True).read().processes == (other.pid,)
