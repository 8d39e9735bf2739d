"""Events and rooms for tests of push rules, without a server."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.room_dag.event import Event
from federation.room_dag.power_levels import PowerLevels
from federation.room_dag.room_versions import get_room_rules
from popcube_server.services.push.compiled_rules import CompiledRules, compile_rules
from popcube_server.services.push.rule_set import RuleSet

RULES = get_room_rules("12")
ROOM = "!room"
CREATOR = "@creator:one.example"
ALICE = "@alice:one.example"
BOB = "@bob:one.example"


def make_event(
    content: Mapping[str, Any] | None = None,
    event_type: str = "m.room.message",
    sender: str = BOB,
    state_key: str | None = None,
    event_id: str = "$event",
    room_id: str = ROOM,
) -> Event:
    """An event as if it had been accepted; a message unless told otherwise."""
    return Event(
        event_id, room_id, event_type, sender, state_key, content or {}, 1_000, 5, (), (), None, RULES, b"{}"
    )


CREATE = make_event({"room_version": "12"}, "m.room.create", CREATOR, "", "$create")


@dataclass(frozen=True)
class FakeRoom:
    """A room with these members."""

    members: Mapping[str, str | None] = field(
        default_factory=lambda: {ALICE: "Alice", BOB: "Bob", CREATOR: None}
    )
    """Display names by user ID."""
    levels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def joined_count(self) -> int:
        return len(self.members)

    @property
    def power_levels(self) -> PowerLevels:
        return PowerLevels(
            CREATE, make_event(self.levels, "m.room.power_levels", CREATOR, "", "$levels"), RULES
        )

    def is_joined(self, user_id: str) -> bool:
        return user_id in self.members

    def display_name(self, user_id: str) -> str | None:
        return self.members.get(user_id)


class FakeMemberRules:
    """The rules of users, in memory; counts what was asked for."""

    def __init__(self, members: Mapping[str, Collection[str]]) -> None:
        self.members = dict(members)
        self.rule_sets: dict[str, RuleSet] = {}
        self.ignored: dict[str, frozenset[str]] = {}
        self.reads = 0

    def _compiled(self, user_ids: Collection[str]) -> dict[str, CompiledRules]:
        self.reads += 1
        return {
            user_id: compile_rules(
                self.rule_sets.get(user_id, RuleSet()), user_id, self.ignored.get(user_id, frozenset())
            )
            for user_id in user_ids
            if user_id in self.rule_sets or user_id in self.ignored
        }

    async def of_members(self, room_id: str) -> Mapping[str, CompiledRules]:
        return self._compiled(self.members[room_id])

    async def of_members_among(self, room_id: str, user_ids: Collection[str]) -> Mapping[str, CompiledRules]:
        return self._compiled([user_id for user_id in self.members[room_id] if user_id in user_ids])

    async def of_users(self, user_ids: Collection[str]) -> Mapping[str, CompiledRules]:
        return self._compiled(user_ids)
