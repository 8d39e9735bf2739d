"""Rooms that every new user finds himself in."""

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class AutoJoinSection:
    """`auto_join_rooms` are aliases or room IDs; `auto_join_mxid_localpart` creates and invites."""

    auto_join_rooms: tuple[str, ...] = options.strings()
    autocreate_auto_join_rooms: bool = options.boolean(True)
    autocreate_auto_join_rooms_federated: bool = options.boolean(True)
    autocreate_auto_join_room_preset: str = options.choice(
        "public_chat", ("public_chat", "private_chat", "trusted_private_chat")
    )
    auto_join_mxid_localpart: str | None = options.optional_string()
    auto_join_rooms_for_guests: bool = options.boolean(True)

    def check(self) -> None:
        for room in self.auto_join_rooms:
            if not room.startswith(("#", "!")):
                raise WrongValue(f"{room[:100]!r} is neither a room alias nor a room ID", "auto_join_rooms")
        if self.autocreate_auto_join_room_preset != "public_chat" and not self.auto_join_mxid_localpart:
            raise WrongValue(
                "must be set when the rooms are private: somebody has to invite", "auto_join_mxid_localpart"
            )
