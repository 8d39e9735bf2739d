"""What waits for a device: read by /sync, deleted once the client has it."""

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.platform import Platform, Timer
from popcube_server.services.to_device.held_messages import HeldMessages
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database, Transaction, start
from storage.devices import AddDevice
from storage.log import Log
from storage.site_links import SiteLinksRepository
from storage.to_device import (
    Device,
    MergeDelivered,
    MergeToDevice,
    PendingRange,
    SendToDevice,
    ToDeviceDelivered,
    ToDeviceRepository,
    names_device,
    pairs,
)
from storage.to_device_sorting import SendUnsorted, SortToDevice

logger = logging.getLogger(__name__)

DEFAULT_LIMIT = 100
NOTHING = PendingRange(0, 0)
FLUSH_AFTER_S: Final = 0.05
"""For so long it is collected what devices have: what one commit deletes costs little more than one device's."""
SORT_AFTER_S: Final = 5.0
"""For so long messages wait to be sorted: who is there has them by then."""
MAX_UNSORTED_BYTES: Final = 2 * 1024 * 1024
"""With more they are sorted at once."""
RECIPIENT_BYTES: Final = 64
"""What a recipient of a message counts for."""
RETRY_AFTER_S: Final = 5.0
_KINDS_OF_USER: Final = frozenset({"to_device_delivered", "to_device_removed", AddDevice.kind})


class ToDeviceInbox:
    """The messages of each device.

    For devices seen lately it is known from which to which position something waits, so that a sync of a device
    without messages reads and writes nothing. The known range may be too wide at its beginning, never too narrow.
    What came since then is in memory, as far as there is room.

    What a device has is deleted a little later. Until then it is remembered here; if a crash forgets it, the device
    has said so in its token all the same.

    On the only site, what is new for several devices is not in their inboxes before it is sorted
    (storage/to_device_sorting.py). Before a device's inbox is read, what is there for it is.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        log: Log,
        platform: Platform,
        size: int,
        held_bytes: int,
    ) -> None:
        self._database = database
        self._committer = committer
        self._log = log
        self._platform = platform
        self._repository = ToDeviceRepository()
        self.ranges: BoundedCache[Device, PendingRange] = BoundedCache(size)
        self._held = HeldMessages(size, held_bytes)
        self._delivered: dict[Device, int] = {}
        """What is still to be deleted: up to which position."""
        self._timer: Timer | None = None
        self._unsorted: dict[Device, int] = {}
        """Devices for which something is unsorted: the newest position of that."""
        self._unsorted_bytes = 0
        self._has: dict[Device, int] = {}
        """Up to which position devices have what may be unsorted."""
        self._inbox_upto = log.position
        """Nothing newer is in any inbox."""
        self._sort_timer: Timer | None = None
        self._is_stopped = False
        log.follow(self._follow)

    async def after(
        self, user_id: str, device_id: str, since: int, upto: int, limit: int = DEFAULT_LIMIT
    ) -> Sequence[tuple[int, bytes]]:
        """Position and JSON (of the whole event) of the first messages with `since` < position <= `upto`.

        If there are `limit` of them, the next token must not point behind the last: newer ones may wait.
        """
        device = (user_id, device_id)
        known = await self._range(device)
        if known.newest <= since or known.oldest > upto:
            return ()
        since = max(since, self._delivered.get(device, 0))
        held = self._held.find(device, max(since + 1, known.oldest))
        if held is not None:
            return [message for message in held if since < message[0] <= upto][:limit]
        await self._sort_for(device)
        return await self._database.read(
            lambda tx: self._repository.get_after(tx, user_id, device_id, since, upto, limit)
        )

    async def delivered(self, user_id: str, device_id: str, upto: int) -> None:
        """The device has everything up to a position: delete it, soon."""
        device = (user_id, device_id)
        known = await self._range(device)
        # Nothing to delete is the usual case, and costs nothing.
        if known.newest > 0 and known.oldest <= upto:
            self._forget(device, upto)
            if device in self._unsorted:
                self._has[device] = max(upto, self._has.get(device, 0))
            if known.oldest <= self._inbox_upto:
                self._delivered[device] = max(upto, self._delivered.get(device, 0))
                self._flush_after(FLUSH_AFTER_S)

    async def delivered_elsewhere(self, user_id: str, device_id: str, log: str, upto: int) -> None:
        """The device has everything that another site took up to a position of its log: it comes from there."""

        def find_end(tx: Transaction) -> int | None:
            # What a client names must be a log that this site has heard of, and no more than that.
            end = min(upto, SiteLinksRepository().get_cursors(tx).get(log, 0))
            return end if self._repository.find_delivered(tx, user_id, device_id, log) < end else None

        end = await self._database.read(find_end)
        if end is not None:
            await self._committer.commit(MergeDelivered(user_id, device_id, log, end))

    def start(self) -> None:
        """Nothing to do before a device has something."""

    async def stop(self) -> None:
        """Sort what is to be sorted, and delete what is to be deleted."""
        for timer in (self._timer, self._sort_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._sort_timer = None
        self._is_stopped = True
        await self._sort()
        await self._flush()

    def _flush_after(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = self._platform.call_later(delay_s, self._flush_now)

    def _flush_now(self) -> None:
        self._timer = None
        start(self._flush(), lambda failure: self._flush_failed(failure.value))

    def _flush_failed(self, error: BaseException | None) -> None:
        logger.error("What devices have was not deleted, and will be in %.0f s: %s", RETRY_AFTER_S, error)
        self._flush_after(RETRY_AFTER_S)

    async def _flush(self) -> None:
        flushed = dict(self._delivered)
        if not flushed:
            return
        await self._committer.commit(*(ToDeviceDelivered(*device, upto) for device, upto in flushed.items()))
        for device, upto in flushed.items():
            if self._delivered.get(device) == upto:
                del self._delivered[device]

    def _sort_after(self, delay_s: float) -> None:
        # What comes after the end is sorted at the next start.
        if self._sort_timer is None and not self._is_stopped:
            self._sort_timer = self._platform.call_later(delay_s, self._sort_now)

    def _sort_now(self) -> None:
        self._sort_timer = None
        start(self._sort(), lambda failure: self._sort_failed(failure.value))

    def _sort_failed(self, error: BaseException | None) -> None:
        logger.error("Messages to devices were not sorted, and will be in %.0f s: %s", RETRY_AFTER_S, error)
        self._sort_after(RETRY_AFTER_S)

    async def _sort_for(self, device: Device) -> None:
        """Before the inbox of a device is read."""
        if device in self._unsorted:
            await self._sort()

    async def _sort(self) -> None:
        if not self._unsorted:
            return
        upto, inbox_upto = self._log.position, self._inbox_upto
        self._unsorted_bytes = 0
        # What a device gets meanwhile is deleted behind this.
        self._inbox_upto = upto
        committed = await self._committer.commit(SortToDevice(upto, tuple(self._has.items())))
        if not committed.results[0] and self._inbox_upto == upto:
            # Everybody had everything.
            self._inbox_upto = inbox_upto
        self._unsorted = {device: newest for device, newest in self._unsorted.items() if newest > upto}
        self._has = {device: has for device, has in self._has.items() if device in self._unsorted}

    async def _range(self, device: Device) -> PendingRange:
        known = self.ranges.get(device)
        if known is not None:
            return known
        # What comes while it is sorted may be in no inbox yet.
        position = self._log.position
        await self._sort_for(device)
        known = await self._database.read(lambda tx: self._repository.find_range(tx, *device)) or NOTHING
        known = _behind(known, self._delivered.get(device, 0))
        # What was committed for the device meanwhile was not applied to an entry that did not exist yet. What else is
        # does not matter: on a busy server something always is.
        since = self._log.since(position)
        if since is not None and not any(_may_change(entry, device) for entry in since):
            self.ranges.put(device, known)
            self._held.begin(device, position + 1 if known != NOTHING else 0)
        return known

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == "to_device":
                self._arrived(entry)
            elif entry.kind == "to_device_delivered":
                user_id, device_id, upto = entry.key
                self._forget((user_id, device_id), int(upto))
            elif entry.kind == "to_device_removed":
                for device_id in entry.key[1:]:
                    self._drop((entry.key[0], device_id))
            elif entry.kind == AddDevice.kind:
                # A new device may be called like one that is gone.
                self._drop((entry.key[0], entry.key[1]))

    def _arrived(self, entry: LogEntry) -> None:
        devices = pairs(entry.key)
        self._widen(devices, entry.position)
        if isinstance(entry.change, SendUnsorted):
            self._note_unsorted(devices, entry.position, entry.change)
        else:
            self._inbox_upto = entry.position
        match entry.change:
            case SendToDevice(messages=messages):
                for message in messages:
                    self._held.add(message.recipients, entry.position, message.event)
            case MergeToDevice(user_id=user_id, device_id=device_id, event=event):
                self._held.add(((user_id, device_id),), entry.position, event)
            case _:
                for device in devices:
                    self._held.drop(device)

    def _note_unsorted(self, devices: Iterable[Device], position: int, change: SendUnsorted) -> None:
        self._unsorted.update(dict.fromkeys(devices, position))
        for message in change.messages:
            self._unsorted_bytes += len(message.event) + RECIPIENT_BYTES * len(message.recipients)
        if self._unsorted_bytes < MAX_UNSORTED_BYTES:
            self._sort_after(SORT_AFTER_S)
        else:
            if self._sort_timer is not None:
                self._sort_timer.cancel()
                self._sort_timer = None
            # Not from within the log.
            self._sort_after(0)

    def _widen(self, devices: Iterable[Device], newest: int) -> None:
        ranges = self.ranges
        only = PendingRange(newest, newest)
        for device in devices:
            known = ranges.peek(device)
            if known is not None:
                # Nothing waited, usually.
                ranges.put(device, PendingRange(known.oldest, newest) if known.newest else only)

    def _drop(self, device: Device) -> None:
        self.ranges.drop(device)
        self._held.drop(device)

    def _forget(self, device: Device, upto: int) -> None:
        self._held.forget(device, upto)
        known = self.ranges.peek(device)
        if known is not None and known.oldest <= upto:
            rest = _behind(known, upto)
            self.ranges.put(device, rest)
            if rest == NOTHING and not self._held.has(device):
                self._held.begin(device, 0)


def _may_change(entry: LogEntry, device: Device) -> bool:
    if entry.kind == "to_device":
        return names_device(entry.key, device)
    # Their keys begin with the user.
    return entry.kind in _KINDS_OF_USER and entry.key[0] == device[0]


def _behind(known: PendingRange, upto: int) -> PendingRange:
    """What is left of a range once everything up to a position is gone."""
    if known.newest <= upto:
        return NOTHING
    return known if known.oldest > upto else PendingRange(upto + 1, known.newest)
