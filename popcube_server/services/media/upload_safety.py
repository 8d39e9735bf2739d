"""When an upload may be answered: once its record is written, or once a peer site has its file too."""

import logging
from typing import Protocol

from twisted.internet.defer import Deferred

from federation.sites.durability import DurabilityState, SiteDurability
from popcube_server.services.platform import Platform
from storage.change import Change
from storage.committer import Committer

logger = logging.getLogger(__name__)


class UploadSafety(Protocol):
    async def commit(self, file_key: str, change: Change) -> None:
        """Write the record of an upload whose file is in the store; returns when it may be answered.

        Raises what the committer raises.
        """


class RecordIsEnough:
    """The file is on this site's disk, and its record is as safe as any."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    async def commit(self, file_key: str, change: Change) -> None:
        await self._committer.commit(change)


class UnconfirmedObserver(Protocol):
    """Metrics."""

    def unconfirmed(self) -> None: ...


class FileAtPeer:
    """With `durability: site`: a peer must have the file, or none may have fetched one in time lately.

    A peer learns of an upload by its record, fetches the file, and says that it has it.

    PROMPT -> BEHIND    no peer had a file in time: uploads are answered without
    BEHIND -> PROMPT    a peer has the newest of them
    """

    def __init__(
        self,
        platform: Platform,
        committer: Committer,
        durability: SiteDurability,
        fall_back_after_s: float,
        observer: UnconfirmedObserver,
    ) -> None:
        self._platform = platform
        self._committer = committer
        self._durability = durability
        self._fall_back_after_s = fall_back_after_s
        self._observer = observer
        self._awaited: dict[str, Deferred[None]] = {}
        self._late: str | None = None

    def is_awaited(self, file_key: str) -> bool:
        """Whether a peer that has this file should say so."""
        return file_key in self._awaited or file_key == self._late

    def held(self, file_key: str) -> None:
        """A peer has it on its disk."""
        if file_key == self._late:
            logger.warning("The other sites have the newest media again")
            self._late = None
        waiting = self._awaited.pop(file_key, None)
        if waiting is not None:
            waiting.callback(None)

    async def commit(self, file_key: str, change: Change) -> None:
        waiting: Deferred[None] = Deferred()
        self._awaited[file_key] = waiting
        try:
            await self._committer.commit(change)
            await self._wait(file_key, waiting)
        finally:
            self._awaited.pop(file_key, None)

    async def _wait(self, file_key: str, waiting: "Deferred[None]") -> None:
        if waiting.called or self._durability.state is DurabilityState.FALLEN_BACK:
            return
        if self._late is not None:
            # Were nobody asked for any more, nobody would say that they keep up again.
            self._late = file_key
            return
        timer = self._platform.call_later(self._fall_back_after_s, lambda: self._give_up(file_key))
        try:
            await waiting
        finally:
            if timer.active():
                timer.cancel()

    def _give_up(self, file_key: str) -> None:
        logger.error("No peer site has the file of an upload: they are answered without for now")
        self._observer.unconfirmed()
        self._late = file_key
        waiting = self._awaited.pop(file_key, None)
        if waiting is not None:
            waiting.callback(None)

    def start(self) -> None:
        """It has no life before the first upload."""

    async def stop(self) -> None:
        """Answer what waits."""
        for file_key in tuple(self._awaited):
            self.held(file_key)
