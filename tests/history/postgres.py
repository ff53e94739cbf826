"""A PostgreSQL server of our own: Debian's package, a private socket, no port, removed after the tests."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.process.child import Child
from tests.edges.command_line import wait_for

NUMBERS = itertools.count(1)


def binaries() -> Path | None:
    """The folder of initdb and postgres; Debian keeps it off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


class Server:
    """A running server."""

    def __init__(self, folder: Path, bin_folder: Path, drop: list[str]) -> None:
        self.folder, self.bin, self.drop = folder, bin_folder, drop

    def ask(self, sql: str, database: str = "postgres") -> str:
        """What psql prints."""
        command = [self.bin / "psql", "-h", self.folder, "-U", "harness", "-d", database, "-Atc", sql]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def ready(self) -> bool:
        command = [str(self.bin / "pg_isready"), "-q", "-h", str(self.folder)]
        return subprocess.run(command, timeout=30, check=False).returncode == 0

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"history{next(NUMBERS)}"
        self.ask(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://harness@/{name}?host={self.folder}"


@contextmanager
def server() -> Iterator[Server]:
    """Run one for the block. PostgreSQL refuses root, so root gives it to another user."""
    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="harness-pg-"))
    drop: list[str] = []
    try:
        if os.geteuid() == 0:
            user = next(one for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody"))
            os.chown(folder, user.pw_uid, user.pw_gid)
            drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        data = folder / "data"
        made = [*drop, found / "initdb", "-D", data, "-U", "harness", "-A", "trust", "-N", "-E", "UTF8"]
        subprocess.run(list(map(str, made)), check=True, capture_output=True, timeout=60, cwd="/")
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        command = [*drop, str(found / "postgres"), "-D", str(data), *options]
        log = folder / "server.log"
        with Child.spawn(command, log=log, name="postgres", cwd=Path("/")):
            running = Server(folder, found, drop)
            wait_for(lambda: running.ready, "PostgreSQL accepts connections")
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
