"""What changed for a user between two positions of the log: which parts of an answer have to be looked at at all."""

from collections.abc import Mapping, Sequence
from dataclasses import field

from popcube_server.services.sync.notifier import ROOM_KINDS, SHARED_KINDS, USER_KINDS, is_private_receipt
from storage.change import LogEntry
from storage.events import StoreEvent
from storage.memberships import MembershipRow
from storage.one_time_keys import ClaimOneTimeKeys
from storage.to_device import names_device
from synapse_like_config.lazy_dataclasses import dataclass

StatePair = tuple[str, str]


@dataclass(slots=True)
class RoomChanges:
    """What happened in one room."""

    pairs: dict[StatePair, int] = field(default_factory=dict)
    """Entries of the state that changed, with the position of the first change."""
    has_timeline: bool = False
    """Whether there are new events for the timeline."""
    has_receipts: bool = False
    has_own_receipts: bool = False
    has_typing: bool = False

    @property
    def has_member_changes(self) -> bool:
        return bool(self.pairs) and any(pair[0] == "m.room.member" for pair in self.pairs)

    def add_event(self, change: StoreEvent, position: int) -> None:
        if change.ordering is not None:
            # History that was found later: it is no news.
            return
        if change.flags == 0:
            self.has_timeline = True
            if change.state_key is not None:
                self.pairs.setdefault((change.type, change.state_key), position)
        if change.new_state is not None:
            for event_type, state_key, _ in change.new_state.current_changes:
                self.pairs.setdefault((event_type, state_key), position)


@dataclass(slots=True)
class Changes:
    """What the log's tail says. `is_known` is False if it does not reach back: then all has to be looked at."""

    is_known: bool
    rooms: dict[str, RoomChanges] = field(default_factory=dict)
    own_kinds: set[str] = field(default_factory=set)
    """Kinds of entries about the user: account data, keys, ..."""
    has_to_device: bool = False
    device_list_users: set[str] = field(default_factory=set)
    presence_users: set[str] = field(default_factory=set)

    def room(self, room_id: str) -> RoomChanges:
        found = self.rooms.get(room_id)
        if found is None:
            found = self.rooms[room_id] = RoomChanges()
        return found

    @property
    def is_nothing(self) -> bool:
        """Whether nobody needs to look any further."""
        return self.is_known and not (
            self.rooms
            or self.own_kinds
            or self.has_to_device
            or self.device_list_users
            or self.presence_users
        )

    def may_have(self, *kinds: str) -> bool:
        """Whether there may be entries of these kinds about the user."""
        return not self.is_known or not self.own_kinds.isdisjoint(kinds)


def find_changes(
    entries: Sequence[LogEntry] | None, user_id: str, device_id: str, rooms: Mapping[str, MembershipRow]
) -> Changes:
    """What of the log's newest entries concerns a user, who has these memberships now."""
    if entries is None:
        return Changes(is_known=False)
    changes = Changes(is_known=True)
    for entry in entries:
        kind = entry.kind
        if kind == "event":
            _add_event(changes, entry, rooms)
        elif kind in ROOM_KINDS:
            row = rooms.get(entry.key[0])
            if is_private_receipt(entry) and entry.key[1] != user_id:
                continue
            if row is not None and row.membership == "join":
                room = changes.room(entry.key[0])
                if kind == "typing":
                    room.has_typing = True
                else:
                    room.has_receipts = True
                    room.has_own_receipts |= entry.key[1] == user_id
        elif kind in USER_KINDS:
            if entry.key[0] == user_id:
                changes.own_kinds.add(kind)
        elif kind == "to_device":
            if names_device(entry.key, (user_id, device_id)):
                changes.has_to_device = True
        elif kind == ClaimOneTimeKeys.kind:
            # It is of no interest to the user's other devices, but a claim is nothing to be exact about.
            if user_id in entry.key[::2]:
                changes.own_kinds.add("one_time_keys")
        elif kind in SHARED_KINDS:
            users = changes.device_list_users if kind == "device_list" else changes.presence_users
            users.add(entry.key[0])
    return changes


def _add_event(changes: Changes, entry: LogEntry, rooms: Mapping[str, MembershipRow]) -> None:
    change = entry.change
    if not isinstance(change, StoreEvent):
        # Committed by another process: the log says no more than that there is something.
        changes.is_known = False
    elif change.room_id in rooms:
        changes.room(change.room_id).add_event(change, entry.position)
