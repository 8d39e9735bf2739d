"""Requests that wait for content which is not uploaded yet, woken by the log."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from popcube_server.services.platform import Platform
from storage.change import LogEntry
from storage.log import Log


class Watch:
    """Notices an upload from the moment it is made, so that none falls between looking and waiting."""

    def __init__(self, platform: Platform, forget: Callable[["Watch"], None]) -> None:
        self._platform = platform
        self._forget = forget
        self._noticed = False
        self._waiting: Deferred[None] | None = None

    def notice(self) -> None:
        """The content is there."""
        self._noticed = True
        self._wake()

    async def wait(self, timeout_s: float) -> None:
        """Returns when the content is there, at the latest after `timeout_s`."""
        if self._noticed:
            return
        self._waiting = Deferred()
        timer = self._platform.call_later(timeout_s, self._wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if timer.active():
                timer.cancel()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def close(self) -> None:
        self._forget(self)


class AwaitedUploads:
    """All watches. Costs nothing per upload that nobody waits for."""

    def __init__(self, platform: Platform, log: Log) -> None:
        self._platform = platform
        self._log = log
        self._watches: dict[str, set[Watch]] = {}

    def start(self) -> None:
        self._log.follow(self._follow)

    async def stop(self) -> None:
        self._log.unfollow(self._follow)
        for media_id in tuple(self._watches):
            self._wake(media_id)

    @property
    def count(self) -> int:
        """How many media IDs somebody waits for."""
        return len(self._watches)

    def watch(self, media_id: str) -> Watch:
        """The caller closes it."""
        watch = Watch(self._platform, lambda closed: self._forget(media_id, closed))
        self._watches.setdefault(media_id, set()).add(watch)
        return watch

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        if not self._watches:
            return
        for entry in entries:
            if entry.kind == "media":
                self._wake(entry.key[0])

    def _wake(self, media_id: str) -> None:
        for watch in tuple(self._watches.get(media_id, ())):
            watch.notice()

    def _forget(self, media_id: str, watch: Watch) -> None:
        watches = self._watches.get(media_id)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[media_id]
