"""How many fetches there are at a time: altogether, and from one server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredSemaphore

TOTAL = 64
PER_SERVER = 8
"""A server that sends slowly keeps only this many places, so that others' media still come."""


class FetchTurns:
    """Who asks for more than there is waits."""

    def __init__(self) -> None:
        self._total = DeferredSemaphore(TOTAL)
        self._servers: dict[str, DeferredSemaphore] = {}

    @asynccontextmanager
    async def turn(self, server_name: str) -> AsyncIterator[None]:
        server = self._servers.setdefault(server_name, DeferredSemaphore(PER_SERVER))
        # The server's own places first: who waits for a slow server must not hold a place of all.
        await server.acquire()
        try:
            await self._total.acquire()
            try:
                yield
            finally:
                self._total.release()
        finally:
            server.release()
            if server.tokens == PER_SERVER and not server.waiting:
                self._servers.pop(server_name, None)
