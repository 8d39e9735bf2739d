"""A port that passes connections on to another port, until it is cut."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK_BYTES = 64 * 1024
CALL_DEADLINE_S = 10.0


class Relay:
    """Stands before a server's federation port, on the port that is in the server's name.

    While it is cut, connections are refused and the open ones are gone, as when a cable is pulled out. It runs in a
    thread of its own.
    """

    def __init__(self, host: str, port: int, target_port: int) -> None:
        self._host = host
        self._port = port
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        threading.Thread(target=self._loop.run_forever, name=f"relay {port}", daemon=True).start()

    def open(self) -> None:
        """Pass on connections. No error if it does."""
        self._call(self._open())

    def cut(self) -> None:
        """End the connections and take no more. No error if it is cut."""
        self._call(self._cut())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_DEADLINE_S)

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._pass_on, self._host, self._port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        ending = tuple(self._writers)
        for writer in ending:
            writer.transport.abort()
        # Until the sockets are closed: who sends something next must not find a connection that is about to go.
        await asyncio.gather(*(writer.wait_closed() for writer in ending), return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._reach()
        except OSError:
            # The server behind is down.
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        finally:
            # When one direction fails, the connection is over.
            self._writers -= both
            for one in both:
                one.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to what stands behind. Raises OSError."""
        return await asyncio.open_connection("127.0.0.1", self._target_port)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, to its end."""
        try:
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            # One end is gone, and the other one follows.
            writer.transport.abort()
