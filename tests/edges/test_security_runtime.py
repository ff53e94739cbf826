"""Readers of runtimes: another local user cannot answer in the name of the service, nor have us run a program."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.errors import ProbeError
from harness.process.proc import owner, trusted, users
from harness.runtime import attach, channel, jvm, jvm_socket
from harness.runtime.counters import Unavailable
from harness.runtime.go import GoCounters
from harness.runtime.node import NodeCounters
from harness.runtime.python import PythonCounters
from tests.edges.unprivileged import NOBODY, as_user_nobody, needs_root, running_as_user_nobody

ROOT = Path(__file__).parents[2]
FORGED = {
    "objects": 1_000_000,
    "blocks": 1_000_000,
    "heap_bytes": 1,
    "asyncio_tasks": 0,
    "greenlets": 0,
    "threads": {},
    "collected": True,
    "external_bytes": 0,
    "resources": {},
}
# Listens in a folder, perhaps of its own, and answers every request with invented figures.
FORGE = """
path = given["path"]
if given["make"]:
    os.mkdir(os.path.dirname(path), 0o700)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o600)
listener.listen(8)
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    try:
        connection.recv(100)
        connection.sendall(given["answer"].encode())
    except OSError:
        pass
    connection.close()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter and write to, as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="sec-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def target() -> Iterator[int]:
    """A process of this user that has no agent."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


@needs_root
@pytest.mark.parametrize("reader", [PythonCounters, NodeCounters])
@pytest.mark.parametrize("way", ["its own folder", "our open folder", "a link", "our folder", "our socket"])
def test_a_forged_agent_of_another_user_is_refused(place: Path, target: int, way: str, reader: type) -> None:
    """Each layer alone refuses: the folder's owner, its mode, a link, the socket's owner, the listener's user."""
    name = {PythonCounters: f"python-{target}.sock", NodeCounters: f"node-{target}-0.sock"}[reader]
    folder = place / "agents"
    if way != "its own folder":
        folder.mkdir()
        folder.chmod(0o777)
    with running_as_user_nobody(
        FORGE, path=str(folder / name), make=way == "its own folder", answer=json.dumps(FORGED)
    ):
        asked = folder
        if way in ("our folder", "our socket"):
            folder.chmod(0o700)
        if way == "our socket":
            os.chown(folder / name, 0, 0)
        if way == "a link":
            folder.chmod(0o700)
            os.chown(folder / name, 0, 0)
            asked = place / "link"
            asked.symlink_to(folder)
        found = reader(asked, target, shared=True).probe()
        assert isinstance(found, Unavailable), found
        expected = {
            "its own folder": f"mode 700 and owner {NOBODY}; expected 700 and owner 0",
            "our open folder": "mode 777 and owner 0; expected 700",
            "a link": "expected a folder and no symbolic link",
            "our folder": f"is not a socket of user 0 (owner {NOBODY}",
            "our socket": f"answered by user {NOBODY}; expected user 0",
        }
        assert expected[way] in found.reason


@needs_root
def test_in_a_shared_folder_an_answer_counts_only_from_a_process_of_the_target(
    place: Path, target: int
) -> None:
    """The right user, and yet another process behind the socket that bears the target's number."""
    folder = place / "agents"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        path = folder / f"python-{target}.sock"
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(json.dumps(FORGED).encode())

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(
            ProbeError, match=f"process {os.getpid()} answers .* expected a process of the target"
        ):
            channel.ask_all(folder, "python", "read", among={target}, users={0})


@needs_root
def test_root_reads_a_service_of_another_user_from_that_users_folder(place: Path) -> None:
    agent = Path(channel.__file__).parent / "agent" / "python"
    folder = place / "agents"
    load = 'import signal; sys.path.insert(0, given["agent"]); import harness_agent'
    code = """
os.mkdir(given["folder"], 0o700)
harness_agent.start(given["folder"])
print("ready", flush=True)
signal.pause()
"""
    with running_as_user_nobody(code, first=load, agent=str(agent), folder=str(folder)) as process:
        assert owner(process.pid) == NOBODY
        found = PythonCounters(folder, process.pid, shared=True).read()
        assert found.processes == (process.pid,)
        assert trusted(process.pid, shared=True) == {NOBODY}


@needs_root
def test_an_agent_does_not_follow_a_link_of_another_user(place: Path) -> None:
    """A service of root must not listen, and unlink, in a folder of another user's choice."""
    precious = place / "precious"
    precious.mkdir(mode=0o700)
    link = place / "harness-runtime-0"
    as_user_nobody("os.symlink(given['to'], given['at']); print('null')", to=str(precious), at=str(link))
    look = "import harness.runtime.agent, os, sys; print(os.listdir(sys.argv[1]))"
    env = {**os.environ, channel.DIRECTORY: str(link), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", look, str(precious)], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    with pytest.raises(ProbeError, match="no symbolic link"):
        channel.private_folder(link)


@needs_root
def test_the_executable_of_another_users_undumpable_process_is_not_run() -> None:
    """On Linux /proc/PID of such a process belongs to root, whatever its user is (proc(5), prctl(2))."""
    code = "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print('ready', flush=True); sys.stdin.read()"  # PR_SET_DUMPABLE
    with running_as_user_nobody(code) as process:
        assert users(process.pid) == {NOBODY}
        assert f"belongs to user {NOBODY}" in attach.why_not_attachable(process.pid)


@contextmanager
def forged_attach_socket(pid: int) -> Iterator[Path]:
    """Another user makes the socket of a JVM that does not listen yet."""
    path = Path(f"/tmp/.java_pid{pid}")
    with running_as_user_nobody(FORGE, path=str(path), make=False, answer="0\nforged"):
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


@needs_root
def test_a_forged_attach_socket_of_a_jvm_is_refused_before_jcmd_runs(
    target: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    jcmd = tmp_path / "jcmd"
    jcmd.write_text(f"#!/bin/sh\ntouch {ran}\n")
    jcmd.chmod(0o700)
    monkeypatch.setattr(jvm, "is_jvm", lambda _: True)
    reader = jvm.JvmCounters(target, jcmd=str(jcmd))
    with forged_attach_socket(target) as path:
        with pytest.raises(ProbeError, match=f"of user {NOBODY}; expected a socket of user 0 alone"):
            reader.read()
        os.chown(path, 0, 0)  # even so, the kernel knows the listening user
        with pytest.raises(ProbeError, match=rf"process \d+ listens there; expected process {target}"):
            reader.read()
        assert not ran.exists()
    with pytest.raises(ProbeError, match="expected its attach socket"):
        reader.read()  # jcmd answered, and yet the JVM never listened
    assert ran.exists()


@needs_root
def test_a_jcmd_that_another_user_could_have_written_is_not_run(place: Path) -> None:
    """It may stand beside the java of the target, whose owner chose the folder."""
    foreign = place / "bin"
    as_user_nobody(
        "os.mkdir(given['at']); open(given['at'] + '/jcmd', 'w').close(); os.chmod(given['at'] + '/jcmd', 0o755);"
        "print('null')",
        at=str(foreign),
    )
    assert not jvm_socket.is_trusted_program(foreign / "jcmd")
    ours = place / "ours"
    ours.mkdir(mode=0o755)
    program = ours / "jcmd"
    program.write_text("")
    program.chmod(0o755)
    assert jvm_socket.is_trusted_program(program)
    link = ours / "linked"
    link.symlink_to(foreign / "jcmd")
    assert not jvm_socket.is_trusted_program(link)
    ours.chmod(0o777)
    assert not jvm_socket.is_trusted_program(program)
    ours.chmod(0o755)
    program.chmod(0o775)
    assert not jvm_socket.is_trusted_program(program)
    assert not jvm_socket.is_trusted_program(ours / "missing")


@needs_root
def test_pprof_pages_of_another_user_are_refused(target: int) -> None:
    code = """
listener = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True); print(listener.getsockname()[1], flush=True)
while True:
    listener.accept()[0].sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
"""
    with running_as_user_nobody(code) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        found = GoCounters(target, f"http://127.0.0.1:{port}").probe()
        assert isinstance(found, Unavailable)
        assert f"user {NOBODY} listens there; expected a user of process {target} (0)" in found.reason
