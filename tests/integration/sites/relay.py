"""A port that passes connections on to another port, as well as the weather allows: cut, silent, slow, narrow."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")

CHUNK_BYTES: Final = 16 * 1024
MAX_ON_ITS_WAY: Final = 256
"""Chunks."""
CALL_DEADLINE_S: Final = 10.0


@dataclass(frozen=True)
class Weather:
    """How well bytes get through."""

    delay_s: float = 0.0
    """Each way."""
    bytes_per_s: float | None = None
    """Each way, of one connection; None: as fast as it goes."""
    is_silent: bool = False
    """Connections stay open and nothing comes through, as when a router on the way has lost its power."""


FAIR: Final = Weather()
SILENT: Final = Weather(is_silent=True)


class RoughRelay:
    """Stands before a site's port, where its peers believe it to be. It runs in a thread of its own."""

    def __init__(self, host: str, port: int, target_port: int) -> None:
        self._host = host
        self._port = port
        self._target_port = target_port
        self._weather = FAIR
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.passed_bytes = 0
        threading.Thread(target=self._loop.run_forever, name=f"relay {port}", daemon=True).start()

    def open(self) -> None:
        """Pass on connections, in fair weather. No error if it does."""
        self._call(self._open())

    def cut(self) -> None:
        """End the connections and take no more, as when a cable is pulled out. No error if it is cut."""
        self._call(self._cut())

    def change(self, weather: Weather) -> None:
        """For what comes from now on. What was swallowed in silence is lost, and its connection with it."""
        self._call(self._change(weather))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_DEADLINE_S)

    async def _open(self) -> None:
        self._weather = FAIR
        if self._server is None:
            self._server = await asyncio.start_server(self._pass_on, self._host, self._port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _change(self, weather: Weather) -> None:
        self._weather = weather

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            # The site behind is down.
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

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction. A queue of what is on its way keeps the delay apart from the throughput."""
        on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_ON_ITS_WAY)
        ends = [
            asyncio.ensure_future(self._collect(reader, on_its_way)),
            asyncio.ensure_future(self._deliver(on_its_way, writer)),
        ]
        try:
            await asyncio.gather(*ends)
        except OSError:
            # One end is gone, and the other one follows.
            writer.transport.abort()
        finally:
            for end in ends:
                end.cancel()

    async def _collect(
        self, reader: asyncio.StreamReader, on_its_way: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        is_broken = False
        while data := await reader.read(CHUNK_BYTES):
            # A connection of which bytes are missing must not go on when the weather is fair again.
            is_broken = is_broken or self._weather.is_silent
            if not is_broken:
                await on_its_way.put((time.monotonic() + self._weather.delay_s, data))
        await on_its_way.put((0.0, b""))

    async def _deliver(
        self, on_its_way: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due_s, data = await on_its_way.get()
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            rate = self._weather.bytes_per_s
            if rate is not None:
                await asyncio.sleep(len(data) / rate)
            self.passed_bytes += len(data)
            writer.write(data)
            await writer.drain()
