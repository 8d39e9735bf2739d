"""Where a sender begins, and how it remembers where it is."""

from collections.abc import Sequence
from typing import Final, Protocol

from federation.sending.sending_duty import DUTY, SendingDuty
from storage.change import Change
from storage.database import Database, Transaction
from storage.duties import DutiesRepository, Progress, SaveProgress
from storage.followers import FollowersRepository, MoveCursor
from storage.site_links import SiteLinksRepository

CURSOR: Final = "federation sender"


class SenderPlace(Protocol):
    async def find(self) -> int | None:
        """The position of this site's log up to which everything was sent; None if nobody ever sent anything."""

    def moves(self, position: int) -> Sequence[Change]:
        """Everything was sent up to there."""


class OwnPlace:
    """On one site."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursors = FollowersRepository()

    async def find(self) -> int | None:
        return await self._database.read(lambda tx: self._cursors.find_position(tx, CURSOR))

    def moves(self, position: int) -> Sequence[Change]:
        return (MoveCursor(CURSOR, position),)


class SharedPlace:
    """Told to the other sites: who sends next begins at the place in its own log that is sure to be behind it."""

    def __init__(self, database: Database, duty: SendingDuty) -> None:
        self._database = database
        self._duty = duty
        self._cursors = FollowersRepository()
        self._duties = DutiesRepository()
        self._links = SiteLinksRepository()

    async def find(self) -> int | None:
        return await self._database.read(self._find)

    def _find(self, tx: Transaction) -> int | None:
        progress = self._duties.find_progress(tx, DUTY)
        if progress is None:
            # From the time when there was one site, or else from the beginning: another one may have been lost.
            return self._cursors.find_position(tx, CURSOR) or 0
        if progress.log == self._duty.log:
            return progress.position
        floor = self._links.find_floor(tx, progress.log, progress.position)
        return self._links.find_shared(tx, progress.log) if floor is None else floor

    def moves(self, position: int) -> Sequence[Change]:
        progress = Progress(self._duty.hold.epoch, self._duty.log, position)
        return (MoveCursor(CURSOR, position), SaveProgress(DUTY, progress))
