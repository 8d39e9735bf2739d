"""A port that passes connections on to another port, as well as the weather allows: cut, silent, slow, narrow."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from tests.integration.federation.relay import Relay

CHUNK_BYTES: Final = 16 * 1024
MAX_ON_ITS_WAY: Final = 256
"""Chunks."""


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


class RoughRelay(Relay):
    """Stands before a site's port, where its peers believe it to be."""

    def __init__(self, host: str, port: int, target_port: int) -> None:
        super().__init__(host, port, target_port)
        self._weather = FAIR
        self.passed_bytes = 0

    def change(self, weather: Weather) -> None:
        """For what comes from now on. What was swallowed in silence is lost, and its connection with it."""
        self._call(self._change(weather))

    async def _open(self) -> None:
        """In fair weather."""
        self._weather = FAIR
        await super()._open()

    async def _change(self, weather: Weather) -> None:
        self._weather = weather

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
