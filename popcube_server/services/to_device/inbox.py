"""What waits for a device: read by /sync, deleted once the client has it."""

from collections.abc import Sequence

from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database, Transaction
from storage.log import Log
from storage.site_links import SiteLinksRepository
from storage.to_device import (
    Device,
    MergeDelivered,
    PendingRange,
    ToDeviceDelivered,
    ToDeviceRepository,
    pairs,
)

DEFAULT_LIMIT = 100
NOTHING = PendingRange(0, 0)


class ToDeviceInbox:
    """The messages of each device.

    For devices seen lately it is known from which to which position something waits, so that a sync of a device
    without messages reads and writes nothing. The known range may be too wide at its beginning, never too narrow.
    """

    def __init__(self, database: Database, committer: Committer, log: Log, size: int) -> None:
        self._database = database
        self._committer = committer
        self._log = log
        self._repository = ToDeviceRepository()
        self.ranges: BoundedCache[Device, PendingRange] = BoundedCache(size)
        log.follow(self._follow)

    def find_has_after(self, user_id: str, device_id: str, since: int) -> bool | None:
        """Whether something waits behind a position; None if that is not in memory."""
        known = self.ranges.get((user_id, device_id))
        return None if known is None else known.newest > since

    async def after(
        self, user_id: str, device_id: str, since: int, upto: int, limit: int = DEFAULT_LIMIT
    ) -> Sequence[tuple[int, bytes]]:
        """Position and JSON (of the whole event) of the first messages with `since` < position <= `upto`.

        If there are `limit` of them, the next token must not point behind the last: newer ones may wait.
        """
        known = await self._range((user_id, device_id))
        if known.newest <= since or known.oldest > upto:
            return ()
        return await self._database.read(
            lambda tx: self._repository.get_after(tx, user_id, device_id, since, upto, limit)
        )

    async def delivered(self, user_id: str, device_id: str, upto: int) -> None:
        """The device has everything up to a position: delete it."""
        known = await self._range((user_id, device_id))
        # Nothing to delete is the usual case, and costs nothing.
        if known.newest > 0 and known.oldest <= upto:
            await self._committer.commit(ToDeviceDelivered(user_id, device_id, upto))

    async def delivered_elsewhere(self, user_id: str, device_id: str, log: str, upto: int) -> None:
        """The device has everything that another site took up to a position of its log: it comes from there."""

        def find_end(tx: Transaction) -> int | None:
            # What a client names must be a log that this site has heard of, and no more than that.
            end = min(upto, SiteLinksRepository().get_cursors(tx).get(log, 0))
            return end if self._repository.find_delivered(tx, user_id, device_id, log) < end else None

        end = await self._database.read(find_end)
        if end is not None:
            await self._committer.commit(MergeDelivered(user_id, device_id, log, end))

    async def _range(self, device: Device) -> PendingRange:
        known = self.ranges.get(device)
        if known is not None:
            return known
        position = self._log.position
        known = await self._database.read(lambda tx: self._repository.find_range(tx, *device)) or NOTHING
        # What was committed for the device meanwhile was not applied to an entry that did not exist yet. What else is
        # does not matter: on a busy server something always is.
        since = self._log.since(position)
        if since is not None and not any(_may_change(entry, device) for entry in since):
            self.ranges.put(device, known)
        return known

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == "to_device":
                for device in pairs(entry.key):
                    known = self.ranges.peek(device)
                    if known is not None:
                        oldest = entry.position if known == NOTHING else known.oldest
                        self.ranges.put(device, PendingRange(oldest, entry.position))
            elif entry.kind == "to_device_delivered":
                user_id, device_id, upto = entry.key
                self._delivered((user_id, device_id), int(upto))
            elif entry.kind == "to_device_removed":
                for device_id in entry.key[1:]:
                    self.ranges.drop((entry.key[0], device_id))

    def _delivered(self, device: Device, upto: int) -> None:
        known = self.ranges.peek(device)
        if known is not None and known.oldest <= upto:
            self.ranges.put(device, NOTHING if known.newest <= upto else PendingRange(upto + 1, known.newest))


def _may_change(entry: LogEntry, device: Device) -> bool:
    if entry.kind == "to_device":
        return device in pairs(entry.key)
    # Their keys begin with the user.
    return entry.kind in ("to_device_delivered", "to_device_removed") and entry.key[0] == device[0]
