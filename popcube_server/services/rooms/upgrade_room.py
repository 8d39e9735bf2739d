"""Replace a room by one of another version. Source: client-server API, "Room upgrades"."""

from collections.abc import Mapping, Sequence
from typing import Any

from federation.room_dag.auth_rules.errors import NotAllowed as AuthRulesNotAllowed
from federation.room_dag.identifiers import is_user_id
from federation.room_dag.room_versions import RoomRules, UnknownRoomVersion, get_room_rules
from federation.rooms.create_room import CreateRoom as AppendRoom
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from popcube_server.services.errors import InvalidParam, NotAllowed, WithCode
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.membership_content import MemberProfiles, member_content
from popcube_server.services.rooms.room_options import StateDraft
from popcube_server.services.rooms.suspensions import Suspensions
from storage.change import Change
from storage.database import Database
from storage.directory import DirectoryRepository, MoveAliases, PublishRoom

_TRANSFERRED = (
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.power_levels",
)


class UpgradeRoom:
    """Makes the new room, leads the old one's aliases and members there, and closes the old one."""

    def __init__(
        self,
        append_room: AppendRoom,
        writer: RoomWriter,
        rooms: LiveRooms,
        events: EventStore,
        database: Database,
        directory: DirectoryRepository,
        profiles: MemberProfiles,
        suspensions: Suspensions,
        limiter: RateLimiter,
    ) -> None:
        self._append_room = append_room
        self._writer = writer
        self._rooms = rooms
        self._events = events
        self._database = database
        self._directory = directory
        self._profiles = profiles
        self._suspensions = suspensions
        self._limiter = limiter

    async def upgrade(
        self, requester: Requester, room_id: str, version: str, additional_creators: Sequence[str]
    ) -> str:
        """The ID of the replacement room."""
        try:
            rules = get_room_rules(version)
        except UnknownRoomVersion:
            raise WithCode(
                400, "M_UNSUPPORTED_ROOM_VERSION", "This server does not know that room version."
            ) from None
        if not all(is_user_id(user_id) for user_id in additional_creators):
            raise InvalidParam("'additional_creators' must be a list of user IDs.")
        await self._suspensions.check_not_suspended(requester.user_id)
        await self._check_power(requester.user_id, room_id)
        self._limiter.spend(requester.user_id)
        old = await self._old_state(room_id)
        content = await self._create_content(room_id, old, rules, additional_creators)
        if rules.creator_in_content:
            content["creator"] = requester.user_id
        member = await member_content(self._profiles, requester.user_id, "join")
        drafts = [("m.room.member", requester.user_id, member), *_transferred(old, rules, requester, content)]
        others = await self._directory_changes(room_id)
        made = await self._append_room.create(
            rules,
            requester.user_id,
            content,
            lambda new_room_id: drafts,
            lambda new_room_id: [change(new_room_id) for change in others],
        )
        await self._close(requester, room_id, made.room_id, old)
        return made.room_id

    async def _check_power(self, user_id: str, room_id: str) -> None:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            raise NotAllowed("You are not in this room.") from None
        levels = room.power_levels
        is_joined = room.committed.is_joined(user_id)
        if not is_joined or levels.user_level(user_id) < levels.level_for_event("m.room.tombstone", True):
            raise NotAllowed("You may not upgrade this room.")

    async def _old_state(self, room_id: str) -> dict[tuple[str, str], Mapping[str, Any]]:
        room = await self._rooms.get(room_id)
        wanted = {
            event_id: pair
            for pair, event_id in room.committed.entries.items()
            if pair[0] != "m.room.member" or room.committed.membership_of(pair[1]) == "ban"
        }
        found = await self._events.get_many(wanted)
        return {pair: found[event_id].event.content for event_id, pair in wanted.items()}

    async def _create_content(
        self,
        room_id: str,
        old: Mapping[tuple[str, str], Mapping[str, Any]],
        rules: RoomRules,
        additional_creators: Sequence[str],
    ) -> dict[str, Any]:
        content = {
            key: value
            for key, value in old["m.room.create", ""].items()
            if key not in ("creator", "room_version", "predecessor", "additional_creators")
        }
        room = await self._rooms.get(room_id)
        content["room_version"] = rules.version
        # The tombstone is sent only once the new room exists, so the newest event of now is named instead.
        content["predecessor"] = {"room_id": room_id, "event_id": room.heads[0].event_id}
        if rules.privileged_creators and additional_creators:
            # Taken from the request only: "any additional_creators of the old room are not copied".
            content["additional_creators"] = list(dict.fromkeys(additional_creators))
        return content

    async def _directory_changes(self, room_id: str) -> list[Any]:
        is_published = await self._database.read(lambda tx: self._directory.is_published(tx, room_id))

        def move(new_room_id: str) -> Change:
            return MoveAliases(room_id, new_room_id)

        def publish(new_room_id: str) -> Change:
            return PublishRoom(new_room_id, True)

        def unpublish(new_room_id: str) -> Change:
            return PublishRoom(room_id, False)

        return [move, publish, unpublish] if is_published else [move]

    async def _close(
        self,
        requester: Requester,
        room_id: str,
        new_room_id: str,
        old: Mapping[tuple[str, str], Mapping[str, Any]],
    ) -> None:
        tombstone = {"body": "This room has been replaced", "replacement_room": new_room_id}
        await self._writer.append(Draft(room_id, "m.room.tombstone", requester.user_id, "", tombstone))
        alias = old.get(("m.room.canonical_alias", ""))
        if alias:
            await self._try(Draft(room_id, "m.room.canonical_alias", requester.user_id, "", {}))
            await self._try(Draft(new_room_id, "m.room.canonical_alias", requester.user_id, "", alias))
        # "If possible, power levels in the old room should also be modified to prevent sending of events and inviting
        # new users": to the greater of 50 and users_default + 1.
        if ("m.room.power_levels", "") not in old:
            # Without them the creator has power over everybody; an event that does not say so would take it.
            return
        levels = integer_levels(old["m.room.power_levels", ""])
        default = levels.get("users_default", 0)
        closed = max(50, (default if isinstance(default, int) else 0) + 1)
        levels["events_default"] = max(closed, _level(levels, "events_default", 0))
        levels["invite"] = max(closed, _level(levels, "invite", 0))
        await self._try(Draft(room_id, "m.room.power_levels", requester.user_id, "", levels))

    async def _try(self, draft: Draft) -> None:
        try:
            await self._writer.append(draft)
        except AuthRulesNotAllowed:
            # Upgrading needs the power to send a tombstone only; the rest is done as far as the user may.
            return


def integer_levels(content: Mapping[str, Any]) -> dict[str, Any]:
    """Power levels with integers only: rooms up to version 9 may have strings, which later versions reject."""
    levels: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            levels[name] = {
                key: level for key, item in value.items() if (level := _integer(item)) is not None
            }
        elif (level := _integer(value)) is not None:
            levels[name] = level
    return levels


def _integer(value: object) -> int | None:
    if type(value) is int:
        return value
    try:
        return int(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _level(levels: Mapping[str, Any], name: str, default: int) -> int:
    level = levels.get(name, default)
    return level if isinstance(level, int) else default


def _transferred(
    old: Mapping[tuple[str, str], Mapping[str, Any]],
    rules: RoomRules,
    requester: Requester,
    create: Mapping[str, Any],
) -> list[StateDraft]:
    drafts: list[StateDraft] = []
    levels = integer_levels(old.get(("m.room.power_levels", ""), {}))
    users = levels.get("users")
    users = dict(users) if isinstance(users, dict) else {}
    if rules.privileged_creators:
        creators = {requester.user_id, *create.get("additional_creators", ())}
        users = {user_id: level for user_id, level in users.items() if user_id not in creators}
    elif users.get(requester.user_id, 0) < 100:
        users[requester.user_id] = 100
    levels["users"] = users
    # The new room's first events need their sender in charge: power levels as they will be come last.
    for event_type in _TRANSFERRED[:-1]:
        if (event_type, "") in old:
            drafts.append((event_type, "", old[event_type, ""]))
    for (event_type, state_key), content in old.items():
        if event_type == "m.room.member":
            drafts.append((event_type, state_key, {"membership": "ban", **_reason(content)}))
        elif event_type == "m.space.child" and content:
            drafts.append((event_type, state_key, content))
    drafts.append(("m.room.power_levels", "", levels))
    return drafts


def _reason(content: Mapping[str, Any]) -> dict[str, Any]:
    reason = content.get("reason")
    return {"reason": reason} if isinstance(reason, str) else {}
