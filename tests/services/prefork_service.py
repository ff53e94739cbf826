"""A small pre-fork SSE service: ``prefork_service.py PORT BEHAVIOUR``. Its parent only forks two workers on asyncio."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import asyncio_service
import chosen

WORKERS = 2


async def work(listener: socket.socket, text: str) -> None:
    behaviour = chosen.of(text, task=asyncio_service.task)
    behaviour.started()
    await asyncio_service.Service(behaviour).run(sock=listener)


def fork(listener: socket.socket, text: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        asyncio.run(work(listener, text))
    finally:
        os._exit(0)


def main(port: int, text: str) -> None:
    chosen.of(text, task=asyncio_service.task)  # a bad argument ends the parent
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    workers = {fork(listener, text) for _ in range(WORKERS)}

    def end(*_: object) -> None:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        pid, _ = os.wait()
        if pid in workers:
            workers.discard(pid)
            workers.add(fork(listener, text))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
