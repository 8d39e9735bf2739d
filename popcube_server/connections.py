"""The open connections of all listeners, so that a server can stop without cutting anybody off.

States: open -> closing (who has no request under way is hung up on, the others after their answer) -> closed.
"""

from typing import Any

from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import HTTPFactory

from popcube_server.prompt_port import PromptConnection
from storage.database import Waiter


class Connections:
    """Knows them all, and which have a request under way."""

    def __init__(self) -> None:
        self._open: set[ProtocolWrapper] = set()
        self._busy: set[object] = set()
        self._waiting: list[Waiter[None]] = []
        self._is_closing = False

    @property
    def is_closing(self) -> bool:
        """An answer that begins now is its connection's last."""
        return self._is_closing

    def opened(self, connection: ProtocolWrapper) -> None:
        self._open.add(connection)

    def lost(self, connection: ProtocolWrapper) -> None:
        self._open.discard(connection)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.succeed(None)

    def began(self, transport: object) -> None:
        """A request has begun to arrive."""
        self._busy.add(transport)

    def ended(self, transport: object) -> None:
        """It was answered, or its client is gone."""
        self._busy.discard(transport)

    def hold(self, transport: object) -> None:
        """What is written from now on is to be sent together, and at once."""
        prompt = _prompt(transport)
        if prompt is not None:
            prompt.hold()

    def release(self, transport: object) -> None:
        """All of it was written."""
        prompt = _prompt(transport)
        if prompt is not None:
            prompt.release()

    async def close(self) -> None:
        """Hang up where nothing is under way, and wait until the others have had their answers."""
        self._is_closing = True
        for connection in tuple(self._open):
            if connection not in self._busy:
                # TLS waits for the end of what is produced, and twisted.web's channel is a producer all its life.
                connection.unregisterProducer()
                connection.loseConnection()
        if self._open:
            waiter: Waiter[None] = Waiter()
            self._waiting.append(waiter)
            await waiter


class WatchedFactory(WrappingFactory[ProtocolWrapper]):
    """A listener's factory that tells `Connections` of each of its connections."""

    noisy = False

    def __init__(self, wrapped: HTTPFactory, connections: Connections) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self._connections = connections

    def registerProtocol(self, p: Any) -> None:  # noqa: N802
        super().registerProtocol(p)  # type: ignore[no-untyped-call]
        self._connections.opened(p)

    def unregisterProtocol(self, p: Any) -> None:  # noqa: N802
        super().unregisterProtocol(p)  # type: ignore[no-untyped-call]
        self._connections.lost(p)


def _prompt(transport: object) -> PromptConnection | None:
    """What is under a connection, if it can be told when to send."""
    under = transport.transport if isinstance(transport, ProtocolWrapper) else None
    return under if isinstance(under, PromptConnection) else None
