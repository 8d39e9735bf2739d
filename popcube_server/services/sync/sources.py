"""What sync asks the other areas. Everything is about one user, between two positions of the log.

`since` is None where everything is wanted. None of these may read the database if nothing changed lately.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataEntry:
    """One entry of account data, or one ephemeral event."""

    type: str
    content: bytes
    """JSON of the content."""


@dataclass(frozen=True, slots=True)
class UserData:
    """Account data of a user; tags are `m.tag`, push rules `m.push_rules`, the read marker `m.fully_read`."""

    everywhere: Sequence[DataEntry] = ()
    rooms: Mapping[str, Sequence[DataEntry]] = field(default_factory=dict)


class UserDataSource(Protocol):
    async def between(self, user_id: str, since: int | None, upto: int) -> UserData:
        """What was set after `since` and up to `upto`, in its newest form."""

    async def of_rooms(self, user_id: str, room_ids: Collection[str]) -> Mapping[str, Sequence[DataEntry]]:
        """Everything that the user has in these rooms."""


class EphemeralSource(Protocol):
    """Receipts, or typing."""

    async def between(
        self, user_id: str, room_ids: Collection[str], since: int | None, upto: int
    ) -> Mapping[str, DataEntry]:
        """By room, what changed in it as the user may see it."""


class PresenceSource(Protocol):
    async def between(self, user_id: str, since: int | None, upto: int) -> Sequence[tuple[str, bytes]]:
        """Sender and JSON of the content of `m.presence` of everybody who shares a room with the user."""

    async def seen(self, user_id: str, device_id: str, presence: str) -> None:
        """The user's client syncs, and says so (`online` or `unavailable`)."""


class ToDeviceSource(Protocol):
    async def after(
        self, user_id: str, device_id: str, since: int, upto: int, limit: int
    ) -> Sequence[tuple[int, bytes]]:
        """Position and JSON of the first messages after `since`, oldest first."""

    async def delivered(self, user_id: str, device_id: str, upto: int) -> None:
        """The device has these."""

    async def delivered_elsewhere(self, user_id: str, device_id: str, log: str, upto: int) -> None:
        """The device has what another site took up to a position of that site's log."""


class DeviceListDelta(Protocol):
    @property
    def changed(self) -> Collection[str]: ...

    @property
    def left(self) -> Collection[str]: ...


class DeviceListSource(Protocol):
    async def between(self, user_id: str, since: int, upto: int) -> DeviceListDelta: ...


class KeyCounts(Protocol):
    """What is left of a device's keys."""

    @property
    def one_time(self) -> Mapping[str, int]:
        """By algorithm, the keys that nobody claimed yet."""

    @property
    def unused_fallback_types(self) -> Sequence[str]: ...


class KeyCountsSource(Protocol):
    async def of(self, user_id: str, device_id: str) -> KeyCounts: ...


class Counts(Protocol):
    @property
    def notifications(self) -> int: ...

    @property
    def highlights(self) -> int: ...


class RoomCounts(Protocol):
    """Of a room, for one user."""

    @property
    def main(self) -> Counts:
        """Of what is in no thread."""

    @property
    def threads(self) -> Mapping[str, Counts]:
        """By root, for threads where something is unread."""


class UnreadSource(Protocol):
    async def counts(self, user_id: str, room_ids: Collection[str]) -> Mapping[str, RoomCounts]:
        """As they are now."""


class PersonalRules(Protocol):
    """What a user does not want to see."""

    async def ignored(self, user_id: str) -> Collection[str]:
        """User IDs of `m.ignored_user_list`."""

    async def blocks_invites(self, user_id: str) -> bool:
        """Whether `m.invite_permission_config` says to block them all."""


class StrippedStates(Protocol):
    """Stripped state that came with an invite or a knock from another server."""

    async def find(self, user_id: str, room_id: str) -> Sequence[bytes] | None:
        """JSON of the entries; None if there are none kept: then the room is one of ours."""
