"""A port whose connections can send an answer at once.

Twisted asks the kernel first whether a connection takes data: two calls to change what is asked, and one more turn of
the reactor, for each answer. Nearly always the kernel takes it.
"""

from typing import Any

from twisted.internet.tcp import Port, Server


class PromptConnection(Server):
    """A connection without TLS. What is written between `hold` and `release` is sent in one piece, and at once.

    States: free -> held -> free. What the kernel does not take at the release waits in the usual way.
    """

    _is_held = False
    _is_waiting = False

    def hold(self) -> None:
        """Nothing may be waited for until the release."""
        self._is_held = True

    def release(self) -> None:
        self._is_held = False
        if not self._is_waiting:
            return
        self._is_waiting = False
        failed = self.doWrite()  # type: ignore[no-untyped-call]
        if failed is not None or self.dataBuffer:
            # The reactor tries again, and deals with what is wrong.
            self.startWriting()

    def startWriting(self) -> None:  # noqa: N802
        if self._is_held:
            self._is_waiting = True
        else:
            super().startWriting()  # type: ignore[no-untyped-call]


class PromptPort(Port):
    """As `reactor.listenTCP` makes one, whose connections are of this kind."""

    transport = PromptConnection


def listen_promptly(reactor: Any, number: int, factory: Any, address: str) -> PromptPort:
    """Raises `CannotListenError`."""
    port = PromptPort(number, factory, interface=address, reactor=reactor)
    port.startListening()
    return port
