"""The state of a room at one moment, as a persistent value: the next one shares nearly all of it."""

from collections import Counter
from collections.abc import Iterator

from immutables import Map

from federation.room_dag.identifiers import domain_of
from synapse_like_config.lazy_dataclasses import dataclass

StatePair = tuple[str, str]

MEMBER = "m.room.member"


@dataclass(frozen=True, slots=True)
class RoomState:
    """What every entry of the state is, and who is in the room by it."""

    entries: "Map[StatePair, str]"
    """(type, state key) to event ID."""
    memberships: "Map[str, str]"
    """User ID to membership (`join`, `invite`, `knock`, `leave`, `ban`)."""
    joined_count: int
    invited_count: int
    servers: "Map[str, int]"
    """How many joined members each server has, of those that have any: no question about servers looks at members."""

    def find(self, event_type: str, state_key: str = "") -> str | None:
        """The event ID of an entry."""
        return self.entries.get((event_type, state_key))

    def membership_of(self, user_id: str) -> str | None:
        """The user's membership, None if there never was one."""
        return self.memberships.get(user_id)

    def is_joined(self, user_id: str) -> bool:
        return self.memberships.get(user_id) == "join"

    def joined_members(self) -> Iterator[str]:
        """User IDs of those in the room."""
        return (user for user, membership in self.memberships.items() if membership == "join")

    def has_member_of(self, server_name: str) -> bool:
        """Whether a user of a server is in the room."""
        return server_name in self.servers

    def with_entry(self, pair: StatePair, event_id: str | None, membership: str | None) -> "RoomState":
        """The state with one entry changed (None: taken out); `membership` is that of a member event."""
        entries = self.entries.set(pair, event_id) if event_id is not None else self.entries.delete(pair)
        if pair[0] != MEMBER:
            return RoomState(entries, self.memberships, self.joined_count, self.invited_count, self.servers)
        old = self.memberships.get(pair[1])
        if event_id is None or membership is None:
            memberships = self.memberships.delete(pair[1]) if old is not None else self.memberships
        else:
            memberships = self.memberships.set(pair[1], membership)
        came = (membership == "join") - (old == "join")
        return RoomState(
            entries,
            memberships,
            self.joined_count + came,
            self.invited_count + (membership == "invite") - (old == "invite"),
            _counted(self.servers, pair[1], came) if came else self.servers,
        )


EMPTY_STATE = RoomState(Map(), Map(), 0, 0, Map())


def make_state(entries: "Map[StatePair, str]", memberships: "Map[str, str]") -> RoomState:
    """A state from all its entries and memberships."""
    values = list(memberships.values())
    servers = Counter(domain_of(user) for user, membership in memberships.items() if membership == "join")
    return RoomState(entries, memberships, values.count("join"), values.count("invite"), Map(servers))


def changed_pairs(old: "Map[StatePair, str]", new: "Map[StatePair, str]") -> list[StatePair]:
    """The entries in which two states differ."""
    if old is new:
        return []
    changed = [pair for pair, event_id in new.items() if old.get(pair) != event_id]
    if len(new) - len(changed) < len(old):
        changed.extend(pair for pair in old if pair not in new)
    return changed


def _counted(servers: "Map[str, int]", user_id: str, came: int) -> "Map[str, int]":
    server_name = domain_of(user_id)
    count = servers.get(server_name, 0) + came
    return servers.set(server_name, count) if count else servers.delete(server_name)
