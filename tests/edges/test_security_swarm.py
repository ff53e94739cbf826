"""The channel between master and workers: another local user can neither read it nor change a ledger."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from harness.core.errors import ConfigError
from harness.swarm.setup import SECRET_VARIABLE
from harness.target.spawn import free_port
from tests.edges.command_line import SERVICES, SMALL, URL, harness
from tests.edges.servers.counting_server import CountingServer
from tests.edges.swarm_cycles import agree, spec, swarm_at, swarm_of, workers_of
from tests.edges.unprivileged import as_user_nobody, needs_root

ROOT = Path(__file__).parents[2]
HEADERS = {"Authorization": "Bearer the-secret-of-the-run"}
RUN_SECRET = "0123456789abcdef0123456789abcdef"
# Joins like a Locust worker, sends our hello message, and prints every answer of the master.
JOIN = """
context = zmq.Context()
answers = {}
for endpoint in given["endpoints"]:
    peer = context.socket(zmq.DEALER)
    peer.linger = 0
    peer.setsockopt(zmq.IDENTITY, b"forged")
    for name, key in given["keys"].items():
        setattr(peer, name, key.encode())
    def send(kind, data):
        try:
            peer.send(msgpack.dumps((kind, data, "forged")), zmq.NOBLOCK)
        except zmq.Again:
            pass  # the master has refused the connection already
    def join():
        peer.connect(endpoint)
        send("client_ready", given["version"])
        send("harness-hello", {"pid": given["pid"], "host": "forged"})
        send("harness-prepared", {})
        got = []
        until = time.monotonic() + 2.0
        while time.monotonic() < until and "harness-setup" not in [kind for kind, _ in got]:
            if peer.poll(100):
                kind, data, _ = msgpack.loads(peer.recv(), strict_map_key=False)
                got.append((kind, repr(data)))
        return got
    answers[endpoint] = attempt(join)
print(json.dumps(answers))
"""


def listening(pid: int) -> list[str]:
    """TCP endpoints on which a process tree listens."""
    process = psutil.Process(pid)
    found = [each.net_connections("tcp") for each in (process, *process.children(recursive=True))]
    return [
        f"tcp://{each.laddr.ip}:{each.laddr.port}"
        for some in found
        for each in some
        if each.status == psutil.CONN_LISTEN
    ]


def attack(endpoints: list[str], pid: int, **keys: str) -> dict[str, object]:
    answers = as_user_nobody(JOIN, endpoints=endpoints, keys=keys, version=version("locust"), pid=pid)
    assert isinstance(answers, dict)
    return answers


@needs_root
@pytest.mark.parametrize("opened", [False, True], ids=["as it is", "folder and socket open to everybody"])
def test_a_forged_worker_of_another_user_receives_nothing_and_changes_no_ledger(
    tmp_path: Path, opened: bool
) -> None:
    """The folder's mode keeps it out, and the secret alone would."""
    with (
        CountingServer() as server,
        swarm_at(server, tmp_path, processes=2, linger=1.2, headers=HEADERS) as swarm,
    ):
        assert listening(swarm.pid) == []
        assert swarm.control_path is not None
        private = swarm.control_path.parent
        workers = private / "workers"
        assert stat.S_IMODE(private.lstat().st_mode) == 0o700
        assert stat.S_IMODE(workers.lstat().st_mode) == 0o600
        if opened:
            private.chmod(0o755)
            workers.chmod(0o666)
        answers = attack([f"ipc://{workers}"], workers_of(swarm.pid)[0])
        (answer,) = answers.values()
        assert answer == [] or "Permission denied" in str(answer)
        ledger = swarm.cycle(spec(40))
        agree(ledger, server)
        assert ledger.notes == ()
        assert ledger.completed == 40
    # No argument of any process names the secret or the header.
    assert "the-secret-of-the-run" not in (tmp_path / "swarm.log").read_text()


@needs_root
def test_another_user_cannot_reach_the_control_socket(tmp_path: Path) -> None:
    """With its modes opened, a connection of a process that the run has not started is closed at once."""
    take = """
print(json.dumps(attempt(lambda: [peer := socket.socket(socket.AF_UNIX), peer.settimeout(20),
    peer.connect(given["path"]), peer.recv(100).decode()][-1])))
"""
    with CountingServer() as server, swarm_of(server.url, tmp_path) as swarm:
        assert swarm.control_path is not None
        assert "Permission denied" in as_user_nobody(take, path=str(swarm.control_path))
    with CountingServer() as server, swarm_of(server.url, tmp_path / "open", headers=HEADERS) as swarm:
        assert swarm.control_path is not None
        swarm.control_path.parent.chmod(0o755)
        swarm.control_path.chmod(0o666)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(as_user_nobody, take, path=str(swarm.control_path))
            swarm.wait_ready()
            assert answer.result() == "" or "Error" in answer.result()
        assert swarm.cycle(spec(5)).completed == 5


def keys_of(secret: str, role: str) -> tuple[str, str]:
    """From a process of its own: this module would monkey-patch the test's."""
    code = (
        "import sys; from harness.swarm.transport import keys;"
        "print(*(k.decode() for k in keys(*sys.argv[1:])), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, secret, role], capture_output=True, text=True, cwd=ROOT, check=True
    )
    public, private = done.stdout.splitlines()
    return public, private


@needs_root
def test_a_remote_worker_needs_the_secret(tmp_path: Path) -> None:
    """Without CURVE, with another secret, and with the master's key but an unknown one of its own."""
    port = free_port()
    master = f"127.0.0.1:{port}"
    other_public, other_secret = keys_of("another secret of 32 characters!!", "worker")
    wrong_master, _ = keys_of("another secret of 32 characters!!", "master")
    right_master, _ = keys_of(RUN_SECRET, "master")
    with (
        CountingServer() as server,
        swarm_of(
            server.url,
            tmp_path,
            processes=0,
            remote_workers=1,
            bind=master,
            secret=RUN_SECRET,
            linger=1.2,
            headers=HEADERS,
        ) as swarm,
    ):
        ours = {"curve_publickey": other_public, "curve_secretkey": other_secret}
        argv = [sys.executable, "-m", "harness.swarm.worker", master]
        env = {**os.environ, SECRET_VARIABLE: RUN_SECRET}
        late: list[subprocess.Popen[bytes]] = []

        def attacks() -> list[object]:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            answers = [
                attack([f"tcp://{master}"], 1, **keys)
                for keys in (
                    {},
                    {"curve_serverkey": wrong_master, **ours},
                    {"curve_serverkey": right_master, **ours},
                )
            ]
            late.append(subprocess.Popen(argv, cwd=ROOT, env=env))
            return [answer for each in answers for answer in each.values()]

        try:
            with ThreadPoolExecutor(1) as pool:
                answers = pool.submit(attacks)
                swarm.wait_ready()
                assert answers.result() == [[], [], []]
            server.clients = lambda: [late[0].pid]
            ledger = swarm.cycle(spec(20))
            agree(ledger, server)
            assert ledger.completed == 20
        finally:
            for worker in late:
                worker.kill()
                worker.wait()


def test_remote_workers_without_a_secret_are_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    for secret in ("", "short"):
        with pytest.raises(ConfigError, match=r"remote workers need a secret.*32 or more random characters"):
            swarm_of("http://127.0.0.1:1", tmp_path, remote_workers=1, secret=secret)


@needs_root
def test_the_master_of_locusts_own_processes_refuses_a_forged_worker(tmp_path: Path) -> None:
    """``locust --processes`` with an SseUser: the forked workers join, another user does not."""
    port = free_port()
    with CountingServer(delay=0.0, timeout=60.0) as server:
        options = ("--headless", "-u", "2", "-r", "2", "-t", "1m", "--processes", "2", "--host", server.url)
        where = ("--master-bind-port", str(port), "--master-port", str(port))
        command = [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(ROOT / "locustfiles" / "churn.py"),
            *options,
            *where,
        ]
        with subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
        ) as master:
            try:
                deadline = time.monotonic() + 30
                while server.count.accepted < 2 and time.monotonic() < deadline:
                    time.sleep(0.05)  # its own workers have joined and make the load
                assert server.count.accepted >= 2
                assert listening(master.pid) == [f"tcp://127.0.0.1:{port}"]
                assert attack(listening(master.pid), 1) == {f"tcp://127.0.0.1:{port}": []}
            finally:
                os.killpg(master.pid, signal.SIGKILL)


@needs_root
def test_another_user_cannot_drive_the_web_ui_of_a_run(tmp_path: Path) -> None:
    """It may read the figures, which docs/security.md says, and starts and stops nothing."""
    press = """
def post(path):
    client = http.client.HTTPConnection("127.0.0.1", given["port"], timeout=20)
    client.request("POST", path, "user_count=9&spawn_rate=9", {"Origin": f"http://127.0.0.1:{given['port']}",
        "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"})
    return client.getresponse().status
print(json.dumps([attempt(lambda: post(path)) for path in ("/swarm", "/stop", "/stats/reset")]))
"""
    port = free_port()
    with CountingServer() as server, swarm_at(server, tmp_path, web_port=port) as swarm:
        assert as_user_nobody(press, port=port) == [403] * 3
        ledger = swarm.cycle(spec(10))
        agree(ledger, server)
        assert ledger.completed == 10


def test_the_service_does_not_inherit_the_secret_of_the_swarm(tmp_path: Path) -> None:
    """It could join the swarm, and so could everybody to whom it shows its environment."""
    script = f"env > {tmp_path}/env; exec {sys.executable} {SERVICES / 'difficult.py'} {{port}} login"
    done = harness(
        "guard", "--url", URL, *SMALL, "--out", tmp_path / "run", "--quiet", "--", "sh", "-c", script,
        env={SECRET_VARIABLE: "sesame-open-your-door-0123456789-abc"},
    )  # fmt: skip
    seen = (tmp_path / "env").read_text()
    assert "PORT=" in seen, done.stderr
    assert "sesame" not in seen
