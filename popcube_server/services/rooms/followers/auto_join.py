"""New users find themselves in the rooms of `auto_join_rooms`.

Rooms that do not exist are made when the first user registers, or, where somebody is named to do it
(`auto_join_mxid_localpart`), whenever they are missing. Who that is also invites into rooms that are not public.
"""

import logging
from collections.abc import Sequence
from typing import Final

from federation.room_dag.identifiers import domain_of
from federation.room_dag.room_versions import get_room_rules
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from popcube_server.services.errors import WithCode
from popcube_server.services.rooms.change_membership import ChangeMembership
from popcube_server.services.rooms.create_room import CreateRoom
from popcube_server.services.rooms.followers.as_user import requester_for, try_to
from popcube_server.services.rooms.resolve_alias import ResolveAlias
from popcube_server.services.rooms.room_options import RoomOptions
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.accounts import AccountRow, AccountsRepository, CreateAccount
from storage.change import LogEntry
from storage.database import Database
from synapse_like_config.auto_join import AutoJoinSection

logger = logging.getLogger(__name__)

_SUPPORT: Final = "support"


class AutoJoin:
    name = "auto_join"

    def __init__(
        self,
        config: AutoJoinSection,
        room_version: str,
        server_name: str,
        database: Database,
        rooms: LiveRooms,
        events: EventStore,
        user_rooms: UserRooms,
        memberships: ChangeMembership,
        create_room: CreateRoom,
        aliases: ResolveAlias,
    ) -> None:
        """`memberships` must know no limits on how often: many may register at the same time."""
        self._config = config
        self._rules = get_room_rules(room_version)
        self._server_name = server_name
        self._database = database
        self._rooms = rooms
        self._events = events
        self._user_rooms = user_rooms
        self._memberships = memberships
        self._create_room = create_room
        self._aliases = aliases
        self._accounts = AccountsRepository()

    def concerns(self, entry: LogEntry) -> bool:
        if isinstance(entry.change, CreateAccount):
            return self._config.auto_join_rooms_for_guests or not entry.change.is_guest
        return entry.kind == CreateAccount.kind and entry.change is None

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        for user_id in dict.fromkeys(entry.key[0] for entry in entries):
            account = await self._database.read(
                lambda tx, user=user_id: self._accounts.find(tx, user)  # type: ignore[misc]
            )
            if account is None or account.is_deactivated or account.user_type == _SUPPORT:
                continue
            if account.is_guest and not self._config.auto_join_rooms_for_guests:
                continue
            for room in self._config.auto_join_rooms:
                await try_to(f"let {user_id} join {room}", self._join(account, room))

    async def _join(self, account: AccountRow, room: str) -> None:
        user_id = account.user_id
        room_id = await self._find_or_make(account, room)
        if room_id is None:
            logger.warning("The room %s of auto_join_rooms does not exist", room)
            return
        present = (await self._user_rooms.of_user(user_id)).get(room_id)
        # Not twice: who has been there and left wanted to leave.
        if present is not None and present.membership != "invite":
            return
        inviter = self._inviter
        if (
            present is None
            and inviter is not None
            and inviter != user_id
            and not await self._is_public(room_id)
        ):
            await self._memberships.invite(requester_for(inviter), room_id, user_id, None)
        await self._memberships.join(requester_for(user_id, is_guest=account.is_guest), room_id)

    async def _find_or_make(self, account: AccountRow, room: str) -> str | None:
        if not room.startswith("#"):
            return room
        found = await self._aliases.find(room)
        if found is not None:
            return found.room_id
        if domain_of(room) != self._server_name or not self._config.autocreate_auto_join_rooms:
            return None
        creator = self._inviter
        if creator is None and await self._is_first(account):
            creator = account.user_id
        return None if creator is None else await self._make(creator, room)

    async def _make(self, creator: str, alias: str) -> str:
        is_federated = self._config.autocreate_auto_join_rooms_federated
        options = RoomOptions(
            preset=self._config.autocreate_auto_join_room_preset,
            creation_content=None if is_federated else {"m.federate": False},
        )
        try:
            return await self._create_room.create_unchecked(creator, options, self._rules, alias)
        except WithCode:
            found = await self._aliases.find(alias)
            if found is None:
                raise
            # Somebody else was quicker.
            return found.room_id

    async def _is_public(self, room_id: str) -> bool:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return True
        event_id = room.committed.find("m.room.join_rules")
        stored = None if event_id is None else await self._events.find(event_id)
        return stored is not None and stored.event.content.get("join_rule") == "public"

    async def _is_first(self, account: AccountRow) -> bool:
        first = await self._database.read(self._accounts.find_first)
        return not account.is_guest and first == account.user_id

    @property
    def _inviter(self) -> str | None:
        localpart = self._config.auto_join_mxid_localpart
        return None if localpart is None else f"@{localpart}:{self._server_name}"
