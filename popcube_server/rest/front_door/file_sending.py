"""Sends files at the pace of those who get them."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import implementer

from popcube_server.services.media.sent_file import SentFile

FILE_CHUNK_BYTES = 128 * 1024
"""As much as Twisted gives to the kernel at once."""


@implementer(IPushProducer)
class FileSending:
    """Sends a file as quickly as the client takes it, without a timer and with one or two chunks in memory."""

    def __init__(self, file: SentFile, request: Request) -> None:
        self._file = file
        self._request = request
        self._paused = True
        self._is_waiting = False
        """For the disk."""
        self._done: Deferred[bool] = Deferred(lambda _: self.pauseProducing())

    def send(self) -> "Deferred[bool]":
        """True once everything was handed to the transport; False if the client went away. Fails with `OSError`."""
        self._request.registerProducer(self, True)
        self.resumeProducing()
        return self._done

    def resumeProducing(self) -> None:
        self._paused = False
        while not (self._paused or self._is_waiting or self._done.called):
            try:
                data = self._file.read_now(FILE_CHUNK_BYTES)
            except OSError:
                # Whoever asks to go on, a transport, would not know what to do with it.
                self._failed(Failure())
                return
            if data is None:
                self._wait()
            else:
                self._hand_over(data)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True
        if not self._done.called:
            self._done.callback(False)

    def _wait(self) -> None:
        self._is_waiting = True
        Deferred.fromCoroutine(self._file.read(FILE_CHUNK_BYTES)).addCallbacks(self._came, self._failed)

    def _came(self, data: bytes) -> None:
        self._is_waiting = False
        if self._done.called:
            return
        # Also if the client has enough for now: asked again, the file would give what comes behind it.
        self._hand_over(data)
        if not self._paused:
            self.resumeProducing()

    def _failed(self, failure: Failure) -> None:
        self._is_waiting = False
        # If the client went away, the file may have been closed before its turn to be read came.
        if not self._done.called:
            self._request.unregisterProducer()
            self._done.errback(failure)

    def _hand_over(self, data: bytes) -> None:
        if data:
            self._request.write(data)
            return
        self._request.unregisterProducer()
        self._done.callback(True)
