"""A small SSE service on asyncio streams: ``asyncio_service.py PORT BEHAVIOUR [BROKER]`` (see chosen.py)."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import behaviours
import chosen

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
REFUSAL = b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FULL = 64 * 1024  # bytes buffered for one reader
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
IDLE = 1.0  # seconds that a connection may wait for its next request
ASK_TIMEOUT = 0.1  # seconds
KEPT: list[object] = []


async def _forgotten(never: asyncio.Event) -> None:
    await never.wait()


def task() -> None:
    KEPT.append(asyncio.ensure_future(_forgotten(asyncio.Event())))


def timer() -> None:
    """A timer that runs ten times a second for ever, and so uses CPU while the service is idle."""
    loop = asyncio.get_running_loop()

    def again() -> None:
        sum(range(500))
        loop.call_later(0.1, again)

    again()


class Service:
    """One behaviour, served to many clients."""

    def __init__(self, behaviour: behaviours.Behaviour, broker: str = "") -> None:
        self.behaviour = behaviour
        self.broker = broker
        self.served = self.open = 0
        self.enough = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        way = "closed"
        self.open += 1
        try:
            way = await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            way = "reset"
        finally:
            self.open -= 1
            self.behaviour.left(way)
            if self.behaviour.linger:
                await asyncio.sleep(self.behaviour.linger)
            if not self.behaviour.deaf:
                writer.transport.abort() if way != "closed" else writer.close()
            else:
                KEPT.append(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        if self.behaviour.event is behaviours.LARGE:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
            writer.transport.set_write_buffer_limits(high=8192)
        await reader.readuntil(b"\r\n\r\n")
        self._count()
        status = self._status()
        if status != 200:
            writer.write(REFUSAL % status)
            await writer.drain()
            return "refused"
        if self.broker:
            self.behaviour.asked(answered=await ask(self.broker))
        if self.behaviour.keep_alive:
            return await self._requests(reader, writer)
        await asyncio.sleep(self.behaviour.lookup)
        if isinstance(reader.exception(), ConnectionError):
            return "early"
        if self.behaviour.plain:
            writer.write(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            self.behaviour.answered()
            return "closed"
        writer.write(HEAD)
        self.behaviour.answered()
        watch = asyncio.ensure_future(reader.read(1))
        try:
            return await self._stream(writer, watch)
        finally:
            if not watch.cancel() and not watch.cancelled():
                watch.exception()

    def _status(self) -> int:
        """200, or the status with which the request is answered instead."""
        try:
            self.behaviour.opened()
        except behaviours.Refused as refused:
            return refused.status
        except OSError:
            return 503
        return self.behaviour.status

    async def _stream(self, writer: asyncio.StreamWriter, watch: asyncio.Future[bytes]) -> str:
        own: list[object] = []
        if not self.behaviour.lent():
            await asyncio.wait([watch])
            return "closed"
        while True:
            if self.behaviour.overflow != "drop" or writer.transport.get_write_buffer_size() < FULL:
                writer.write(self.behaviour.event)
            if self.behaviour.overflow == "wait":
                try:
                    await asyncio.wait_for(writer.drain(), behaviours.SLOW)
                except TimeoutError:
                    return "slow"
            self.behaviour.sent()
            self.behaviour.streamed(own)
            await asyncio.wait([watch], timeout=self.behaviour.every)
            if watch.done():
                watch.result()
                return "closed"

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        while True:
            writer.write(ANSWER)
            await writer.drain()
            try:
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE)
            except TimeoutError:
                return "closed"

    def _count(self) -> None:
        self.served += 1
        if self.served == self.behaviour.recycle:
            self.enough.set()

    async def run(self, **listen: Any) -> None:
        """Listen until a worker has served enough, then until its last client has left."""
        server = await asyncio.start_server(self.serve, backlog=1024, **listen)
        ticking = asyncio.ensure_future(self._tick())
        async with server:
            await self.enough.wait()
        while self.open:
            await asyncio.sleep(behaviours.TICK)
        ticking.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(behaviours.TICK)
            self.behaviour.tick()


async def ask(broker: str) -> bool:
    """One MDP request to the broker's ``state`` service through a socket of its own; False: no answer in time."""
    import zmq
    import zmq.asyncio

    from fake_broker import mdp

    made = zmq.asyncio.Context.instance().socket(zmq.DEALER)
    made.linger = 0
    try:
        made.connect(broker)
        await made.send_multipart(mdp.encode_client_request(mdp.DIALECTS["plantd"], "state", (b"status",)))
        return bool(await made.poll(int(ASK_TIMEOUT * 1000)))
    finally:
        made.close()


async def main(port: int, text: str, broker: str) -> None:
    behaviour = chosen.of(text, task=task, timer=timer)
    behaviour.started()
    await Service(behaviour, broker).run(host="127.0.0.1", port=port)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
