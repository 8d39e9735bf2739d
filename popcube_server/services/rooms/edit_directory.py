"""Aliases made and taken away, rooms listed and unlisted. Source: client-server API, directory, list_public_rooms."""

from federation.room_dag.auth_rules.errors import NotAllowed as AuthRulesNotAllowed
from federation.room_dag.identifiers import domain_of, is_room_alias
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from popcube_server.services.errors import InvalidParam, NotAllowed, NotFound, WithCode
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.resolve_alias import ResolveAlias
from storage.change import Conflict
from storage.committer import Committer
from storage.directory import AddAlias, PublishRoom, RemoveAlias
from synapse_like_config.directory import DirectoryRule, DirectorySection


class EditDirectory:
    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        writer: RoomWriter,
        aliases: ResolveAlias,
        committer: Committer,
        config: DirectorySection,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._writer = writer
        self._aliases = aliases
        self._committer = committer
        self._config = config
        self._server_name = server_name

    async def add_alias(self, requester: Requester, alias: str, room_id: str) -> None:
        """Raises M_UNKNOWN with 409 if the alias exists."""
        if not is_room_alias(alias):
            raise InvalidParam("That is not a room alias.")
        if domain_of(alias) != self._server_name:
            raise NotAllowed("That alias belongs to another server.")
        room = await self._room(room_id)
        if self._config.require_membership_for_aliases and not requester.is_admin:
            _check_joined(room, requester)
        if not _is_permitted(self._config.alias_creation_rules, requester.user_id, room_id, (alias,)):
            raise NotAllowed("You may not make this alias.")
        try:
            await self._committer.commit(AddAlias(alias, room_id, requester.user_id))
        except Conflict:
            raise WithCode(409, "M_UNKNOWN", f"The room alias {alias} exists already.") from None

    async def remove_alias(self, requester: Requester, alias: str) -> None:
        """By who made it, by a server administrator, or with the power to set the room's canonical alias."""
        found = await self._aliases.get(alias)
        if found.creator != requester.user_id and not requester.is_admin:
            room = await self._room(found.room_id)
            if not _has_alias_power(room, requester.user_id):
                raise NotAllowed("You may not remove this alias.")
        await self._committer.commit(RemoveAlias(alias))
        await self._clean_canonical_alias(requester, found.room_id, alias)

    async def publish(self, requester: Requester, room_id: str, is_public: bool) -> None:
        """List a room in the public directory, or take it off."""
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            raise NotFound("This server does not know that room.") from None
        if not requester.is_admin:
            _check_joined(room, requester)
            if not _has_alias_power(room, requester.user_id):
                raise NotAllowed("You may not change whether this room is listed.")
        if is_public and not _is_permitted(
            self._config.room_list_publication_rules, requester.user_id, room_id, ()
        ):
            raise NotAllowed("This room may not be listed.")
        await self._committer.commit(PublishRoom(room_id, is_public))

    async def _room(self, room_id: str) -> LiveRoom:
        try:
            return await self._rooms.get(room_id)
        except UnknownRoom:
            raise NotAllowed("You are not in that room.") from None

    async def _clean_canonical_alias(self, requester: Requester, room_id: str, alias: str) -> None:
        # "Servers may choose to update the alt_aliases for the m.room.canonical_alias state event in the room when an
        # alias is removed", if the user is permitted to.
        room = await self._room(room_id)
        event_id = room.committed.find("m.room.canonical_alias")
        stored = None if event_id is None else await self._events.find(event_id)
        if stored is None:
            return
        content = dict(stored.event.content)
        if content.get("alias") == alias:
            del content["alias"]
        alternatives = content.get("alt_aliases")
        if isinstance(alternatives, list) and alias in alternatives:
            content["alt_aliases"] = [one for one in alternatives if one != alias]
        if content == stored.event.content:
            return
        try:
            await self._writer.append(
                Draft(room_id, "m.room.canonical_alias", requester.user_id, "", content)
            )
        except AuthRulesNotAllowed:
            # The alias is gone all the same; the room keeps naming it until somebody with the power changes that.
            return


def _check_joined(room: LiveRoom, requester: Requester) -> None:
    if not room.committed.is_joined(requester.user_id):
        raise NotAllowed("You are not in that room.")


def _has_alias_power(room: LiveRoom, user_id: str) -> bool:
    levels = room.power_levels
    is_joined = room.committed.is_joined(user_id)
    return is_joined and levels.user_level(user_id) >= levels.level_for_event("m.room.canonical_alias", True)


def _is_permitted(
    rules: tuple[DirectoryRule, ...] | None, user_id: str, room_id: str, aliases: tuple[str, ...]
) -> bool:
    if rules is None:
        return True
    for rule in rules:
        if rule.has_match(user_id, room_id, aliases):
            return rule.action == "allow"
    return False
