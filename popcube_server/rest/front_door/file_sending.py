"""Sends files at the pace of those who get them."""

from typing import IO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

FILE_CHUNK_BYTES = 128 * 1024
"""As much as Twisted gives to the kernel at once."""


@implementer(IPushProducer)
class FileSending:
    """Sends a file as quickly as the client takes it, without a timer and with one chunk in memory."""

    def __init__(self, file: IO[bytes], request: Request) -> None:
        self._file = file
        self._request = request
        self._paused = True
        self._done: Deferred[bool] = Deferred(lambda _: self.pauseProducing())

    def send(self) -> "Deferred[bool]":
        """True once everything was handed to the transport; False if the client went away."""
        self._request.registerProducer(self, True)
        self.resumeProducing()
        return self._done

    def resumeProducing(self) -> None:
        if self._done.called:
            return
        self._paused = False
        while not self._paused:
            data = self._file.read(FILE_CHUNK_BYTES)
            if not data:
                self._paused = True
                self._request.unregisterProducer()
                self._done.callback(True)
                return
            self._request.write(data)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True
        if not self._done.called:
            self._done.callback(False)
